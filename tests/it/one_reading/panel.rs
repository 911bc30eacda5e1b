//! Readers of JSON that are more lenient than Callgate, each after one that is in use. What an adapter lets through all
//! of them have to read the same. Start at [`same_to_all`].
//!
//! Nothing here uses Callgate: the fuzz targets read with it, too.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization as _;

/// A JSON value as it is written: members that come twice are there twice, and numbers are texts.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// `null`, `true`, `false`.
    Word(&'static str),
    /// A number, as it is written.
    Number(String),
    /// A text; halves of surrogate pairs that are alone are U+FFFD.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// Members in order.
    Object(Vec<(String, Tree)>),
}

/// The names that a server knows, at every place.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Members, and what is known of each.
    pub members: BTreeMap<&'static str, Known>,
    /// What the items of a list are.
    pub items: Option<Box<Known>>,
    /// Whether policies look at the number here.
    pub is_typed: bool,
}

impl Known {
    /// An object with these members.
    pub fn object(members: impl IntoIterator<Item = (&'static str, Known)>) -> Self {
        Self {
            members: members.into_iter().collect(),
            ..Self::default()
        }
    }

    /// A list of these.
    pub fn list(items: Self) -> Self {
        Self {
            items: Some(Box::new(items)),
            ..Self::default()
        }
    }

    /// A value that policies look at.
    pub fn typed() -> Self {
        Self {
            is_typed: true,
            ..Self::default()
        }
    }
}

/// One kind of reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The last of two members counts: most readers.
    LastWins,
    /// The first does: readers that look a name up in the text.
    FirstWins,
    /// Names are one whatever the case of their letters, the last counts: `encoding/json` of Go.
    FoldsCase,
    /// The same with characters that have several forms.
    Normalizes,
    /// A name ends at a NUL: readers in C.
    EndsAtNul,
    /// What nobody sees is not part of a name: readers that clean what they read.
    DropsInvisible,
    /// All numbers are doubles: JavaScript.
    Doubles,
}

const PANEL: [Reader; 7] = [
    Reader::LastWins,
    Reader::FirstWins,
    Reader::FoldsCase,
    Reader::Normalizes,
    Reader::EndsAtNul,
    Reader::DropsInvisible,
    Reader::Doubles,
];

/// Whether all readers take a text for the same; what two of them disagree about otherwise.
pub fn same_to_all(tree: &Tree, known: &Known) -> Result<(), String> {
    let expected = Reader::LastWins.see(tree, known);
    for reader in PANEL {
        let seen = reader.see(tree, known);
        if seen != expected {
            return Err(format!("{reader:?} sees {seen:?} in place of {expected:?}"));
        }
    }
    Ok(())
}

/// Everything that some reader finds under a path of names. `*` stands for every member or item.
pub fn found<'t>(tree: &'t Tree, path: &[&str]) -> Vec<&'t Tree> {
    let Some((name, rest)) = path.split_first() else {
        return vec![tree];
    };
    let mut all: Vec<&Tree> = Vec::new();
    match tree {
        Tree::Object(members) => {
            let is_it = |key: &str| {
                let mut panel = PANEL.iter();
                *name == "*" || panel.any(|reader| reader.takes(key) == reader.takes(name))
            };
            for (_, value) in members.iter().filter(|(key, _)| is_it(key)) {
                all.extend(found(value, rest));
            }
        }
        Tree::List(items) if *name == "*" => {
            items.iter().for_each(|item| all.extend(found(item, rest)));
        }
        _ => {}
    }
    all
}

impl Reader {
    /// What a name is to this reader, which has no schema.
    fn takes(self, name: &str) -> String {
        match self {
            Self::LastWins | Self::FirstWins | Self::Doubles => name.to_owned(),
            Self::FoldsCase => name.chars().flat_map(folded).collect(),
            Self::Normalizes => name.nfkc().flat_map(folded).nfkc().collect(),
            Self::EndsAtNul => name.split('\0').next().unwrap_or_default().to_owned(),
            Self::DropsInvisible => name.chars().filter(|c| !is_dropped(*c)).collect(),
        }
    }

    /// The value as this reader has it, written with exact names. An object has a value for every name that is known or
    /// written: the one that this reader would find if it looked for that name.
    fn see(self, tree: &Tree, known: &Known) -> Tree {
        const NOTHING: &Known = &Known {
            members: BTreeMap::new(),
            items: None,
            is_typed: false,
        };
        match tree {
            Tree::Object(members) => {
                let written = members.iter().map(|(key, _)| key.as_str());
                let names: BTreeSet<&str> = written.chain(known.members.keys().copied()).collect();
                let seen = names.into_iter().filter_map(|name| {
                    let value = self.find(members, known, name)?;
                    let below = known.members.get(name).unwrap_or(NOTHING);
                    Some((name.to_owned(), self.see(value, below)))
                });
                Tree::Object(seen.collect())
            }
            Tree::List(items) => {
                let below = known.items.as_deref().unwrap_or(NOTHING);
                Tree::List(items.iter().map(|item| self.see(item, below)).collect())
            }
            Tree::Number(literal) if self == Self::Doubles && known.is_typed => {
                let double: f64 = literal.parse().unwrap_or(f64::NAN);
                Tree::Number(plain(&format!("{double:e}")))
            }
            Tree::Number(literal) => Tree::Number(plain(literal)),
            other => other.clone(),
        }
    }

    fn find<'t>(
        self,
        members: &'t [(String, Tree)],
        known: &Known,
        name: &str,
    ) -> Option<&'t Tree> {
        // Whoever knows both of two names tells them apart.
        let is_it = |key: &str| {
            key == name || !known.members.contains_key(key) && self.takes(key) == self.takes(name)
        };
        let mut fitting = members.iter().filter(|(key, _)| is_it(key));
        let found = match self {
            Self::FirstWins => fitting.next(),
            _ => fitting.next_back(),
        };
        found.map(|(_, value)| value)
    }
}

/// Unicode's simple folding, near enough: the long s is an s, the sign of Kelvin a k.
fn folded(c: char) -> impl Iterator<Item = char> {
    c.to_uppercase().flat_map(char::to_lowercase)
}

fn is_dropped(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e007f}')
}

/// A number without what does not change it: `1.50e1` is `15e0`.
fn plain(literal: &str) -> String {
    let (sign, rest) = match literal.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", literal),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    let (Ok(exponent), false) = (exponent.parse::<i64>(), significant.is_empty()) else {
        return if significant.is_empty() {
            "0".to_owned()
        } else {
            literal.to_owned()
        };
    };
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let power = exponent - fraction.len() as i64 + zeros as i64;
    format!("{sign}{significant}e{power}")
}

/// Whether it holds a whole number that ToolHive may have rounded on the way: one that a double does not hold apart
/// from its neighbours.
pub fn may_be_rounded(tree: &Tree) -> bool {
    const SAFE: f64 = 9_007_199_254_740_991.0;
    match tree {
        Tree::Number(literal) => literal
            .parse::<f64>()
            .is_ok_and(|it| it.fract() == 0.0 && it.abs() > SAFE),
        Tree::List(items) => items.iter().any(may_be_rounded),
        Tree::Object(members) => members.iter().any(|(_, it)| may_be_rounded(it)),
        _ => false,
    }
}

/// Reads a text of JSON; `None` if it is none.
pub fn parse(text: &[u8]) -> Option<Tree> {
    let text = std::str::from_utf8(text).ok()?;
    let mut parser = Parser {
        rest: text,
        levels: 400,
    };
    let tree = parser.value()?;
    parser.space();
    parser.rest.is_empty().then_some(tree)
}

struct Parser<'t> {
    rest: &'t str,
    levels: u32,
}

impl Parser<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.space();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn value(&mut self) -> Option<Tree> {
        self.space();
        for word in ["null", "true", "false"] {
            if self.take(word).is_some() {
                return Some(Tree::Word(word));
            }
        }
        match self.rest.chars().next()? {
            '"' => self.text().map(Tree::Text),
            '{' => self.within(Self::object),
            '[' => self.within(Self::list),
            _ => self.number(),
        }
    }

    fn within(&mut self, read: impl Fn(&mut Self) -> Option<Tree>) -> Option<Tree> {
        self.levels = self.levels.checked_sub(1)?;
        let read = read(self);
        self.levels += 1;
        read
    }

    fn object(&mut self) -> Option<Tree> {
        self.take("{")?;
        let mut members = Vec::new();
        if self.take("}").is_some() {
            return Some(Tree::Object(members));
        }
        loop {
            self.space();
            let name = self.text()?;
            self.take(":")?;
            members.push((name, self.value()?));
            if self.take("}").is_some() {
                return Some(Tree::Object(members));
            }
            self.take(",")?;
        }
    }

    fn list(&mut self) -> Option<Tree> {
        self.take("[")?;
        let mut items = Vec::new();
        if self.take("]").is_some() {
            return Some(Tree::List(items));
        }
        loop {
            items.push(self.value()?);
            if self.take("]").is_some() {
                return Some(Tree::List(items));
            }
            self.take(",")?;
        }
    }

    fn text(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix('"')?;
        let mut units: Vec<u16> = Vec::new();
        loop {
            let c = self.rest.chars().next()?;
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '"' => return Some(String::from_utf16_lossy(&units)),
                '\\' => units.push(self.escape()?),
                c if u32::from(c) < 0x20 => return None,
                c => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(match c {
            '"' | '\\' | '/' => c as u16,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'u' => {
                let digits = self.rest.get(..4)?;
                let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                self.rest = &self.rest[4..];
                is_hex.then(|| u16::from_str_radix(digits, 16).ok())??
            }
            _ => return None,
        })
    }

    fn number(&mut self) -> Option<Tree> {
        let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (literal, rest) = self.rest.split_at(end);
        is_number(literal).then_some(())?;
        self.rest = rest;
        Some(Tree::Number(literal.to_owned()))
    }
}

/// RFC 8259, 6.
fn is_number(literal: &str) -> bool {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = literal.strip_prefix('-').unwrap_or(literal);
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    is_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && is_digits(fraction)
        && is_digits(exponent)
}

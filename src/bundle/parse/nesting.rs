//! How deep a text of Cedar nests, found before a parser sees it: parsers, type checkers and evaluators recurse, and a
//! stack that overflows ends the process.
//!
//! Start at [`find_excess`]. It reads tokens, no grammar: what it counts is never less than what a parser builds.

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};

/// Brackets, `if`s and signs within each other.
pub const MAX_NESTING: usize = 64;
/// `if`s within each other: each may double what the type checker does.
pub const MAX_IFS: usize = 16;
/// Operators, members, calls and clauses on the way from a whole policy to its innermost part.
pub const MAX_HEIGHT: usize = 1_000;

/// What is written in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Policies.
    Policies,
    /// A schema.
    Schema,
}

/// The first place at which a text nests too deep, if there is one.
pub fn find_excess(origin: SourceText<'_>, language: Language) -> Option<BundleDiagnostic> {
    let mut scanner = Scanner {
        bytes: origin.text.as_bytes(),
        at: 0,
        is_schema: language == Language::Schema,
        is_after_operand: false,
        signs: 0,
        nesting: 0,
        ifs: 0,
        frames: vec![Frame::default()],
    };
    let (at, excess) = scanner.run()?;
    let (message, help) = match excess {
        Excess::Nesting => (
            format!("this nests deeper than {MAX_NESTING} levels of brackets, `if` and signs"),
            match language {
                Language::Policies => "split the policy, or compare with an attribute or a group",
                Language::Schema => "give the inner type a name of its own",
            },
        ),
        Excess::Ifs => (
            format!("more than {MAX_IFS} `if` stand within each other"),
            "write one policy for each case",
        ),
        Excess::Height => (
            format!("more than {MAX_HEIGHT} operators, members and clauses build on each other"),
            "split the policy, or write a set: `[...].contains(...)`",
        ),
    };
    Some(BundleDiagnostic::at(origin, at, 1, message).with_help(help))
}

enum Excess {
    Nesting,
    Ifs,
    Height,
}

/// What is open between two brackets, since the last comma.
#[derive(Default)]
struct Frame {
    /// `&&`, `||` and clauses. Each may be one level of the tree, above what is between them.
    logical: usize,
    /// Operators, members and calls since the last of those. Each may be one level of the tree.
    operators: usize,
    /// The height of the tallest of the parts before the last of those.
    between: usize,
    /// `if`s, each of which may hold the next.
    ifs: usize,
    /// Signs before the bracket, open as long as it is.
    signs: usize,
    /// The height of the tallest bracket that was closed here.
    tallest: usize,
    /// The height of the tallest of the parts before the last comma.
    before: usize,
}

impl Frame {
    fn height(&self) -> usize {
        let tallest = self.between.max(self.operators + self.tallest);
        self.before.max(self.logical + self.ifs + tallest)
    }

    /// `&&`, `||`, or the end of a clause.
    fn logical(&mut self) {
        self.between = self.between.max(self.operators + self.tallest);
        (self.operators, self.tallest) = (0, 0);
        self.logical += 1;
    }

    /// Begins the next part. Says how many `if`s ended.
    fn next_part(&mut self) -> usize {
        self.before = self.height();
        (self.logical, self.between) = (0, 0);
        (self.operators, self.tallest) = (0, 0);
        std::mem::take(&mut self.ifs)
    }
}

struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    is_schema: bool,
    /// Whether a bracket or a sign here would follow a value.
    is_after_operand: bool,
    /// `!` and `-` one after the other.
    signs: usize,
    /// Brackets and `if`s that are open.
    nesting: usize,
    /// How many of those are `if`s.
    ifs: usize,
    /// Never empty: the first is the statement.
    frames: Vec<Frame>,
}

impl Scanner<'_> {
    fn run(&mut self) -> Option<(usize, Excess)> {
        while let Some(&byte) = self.bytes.get(self.at) {
            let begun = self.at;
            self.at += 1;
            self.token(byte, begun);
            if self.nesting + self.signs > MAX_NESTING {
                return Some((begun, Excess::Nesting));
            }
            if self.ifs > MAX_IFS {
                return Some((begun, Excess::Ifs));
            }
            let is_high = !self.is_schema && self.frame().height() > MAX_HEIGHT;
            if is_high {
                return Some((begun, Excess::Height));
            }
        }
        None
    }

    fn token(&mut self, byte: u8, begun: usize) {
        match byte {
            b'"' => {
                self.skip_string();
                self.operand();
            }
            b'/' if self.peek() == Some(b'/') => self.skip_line(),
            b'(' | b'[' | b'{' => self.open(byte),
            b'<' if self.is_schema => self.open(byte),
            b')' | b']' | b'}' => self.close(byte),
            b'>' if self.is_schema => self.close(byte),
            b',' => self.next_part(),
            b';' => self.end_of_statement(),
            b'!' | b'-' if self.peek() != Some(b'=') && !self.is_after_operand => {
                self.signs += 1;
                self.frame().operators += 1;
            }
            b'&' | b'|' => {
                while self.peek() == Some(byte) {
                    self.at += 1;
                }
                self.frame().logical();
                self.is_after_operand = false;
                self.signs = 0;
            }
            b'=' | b'!' | b'<' | b'>' => {
                while self.peek() == Some(b'=') {
                    self.at += 1;
                }
                self.operator();
            }
            b'+' | b'-' | b'*' | b'.' | b'%' => self.operator(),
            _ if is_word(byte) => self.word(begun),
            _ => {}
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn frame(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn operand(&mut self) {
        self.is_after_operand = true;
        self.signs = 0;
    }

    fn operator(&mut self) {
        self.frame().operators += 1;
        self.is_after_operand = false;
        self.signs = 0;
    }

    fn word(&mut self, begun: usize) {
        while self.peek().is_some_and(is_word) {
            self.at += 1;
        }
        match self.bytes.get(begun..self.at).unwrap_or_default() {
            b"if" => {
                self.operator();
                self.frame().ifs += 1;
                self.nesting += 1;
                self.ifs += 1;
            }
            b"in" | b"has" | b"like" | b"is" => self.operator(),
            b"then" | b"else" => {
                self.is_after_operand = false;
                self.signs = 0;
            }
            _ => self.operand(),
        }
    }

    fn open(&mut self, byte: u8) {
        // A call, an index, or in a schema a parameter.
        if self.is_after_operand && byte != b'{' {
            self.frame().operators += 1;
        }
        self.nesting += 1 + self.signs;
        let signs = std::mem::take(&mut self.signs);
        self.frames.push(Frame {
            signs,
            ..Frame::default()
        });
        self.is_after_operand = false;
    }

    fn close(&mut self, byte: u8) {
        // The statement itself has no bracket; the parser complains of one too many.
        if self.frames.len() > 1
            && let Some(closed) = self.frames.pop()
        {
            let ended = 1 + closed.ifs + closed.signs;
            self.nesting = self.nesting.saturating_sub(ended);
            self.ifs = self.ifs.saturating_sub(closed.ifs);
            let is_clause = byte == b'}' && self.frames.len() == 1;
            let frame = self.frame();
            frame.tallest = frame.tallest.max(closed.height() + 1);
            if is_clause {
                frame.logical();
            }
        }
        self.operand();
    }

    fn next_part(&mut self) {
        let ended = self.frame().next_part();
        self.nesting = self.nesting.saturating_sub(ended);
        self.ifs = self.ifs.saturating_sub(ended);
        self.is_after_operand = false;
        self.signs = 0;
    }

    /// Policies end here, whatever they left open.
    fn end_of_statement(&mut self) {
        self.next_part();
        if self.frames.len() == 1 {
            self.frames[0] = Frame::default();
            (self.nesting, self.ifs) = (0, 0);
        }
    }

    fn skip_string(&mut self) {
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

#[cfg(test)]
#[path = "nesting_tests.rs"]
mod tests;

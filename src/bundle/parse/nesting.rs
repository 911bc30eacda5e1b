//! Limits on the nesting of Cedar text, checked before parsing: parsers, type checkers and evaluators recurse, and a stack
//! overflow ends the process.
//!
//! Start at [`find_excess`]. It scans tokens without a grammar and never counts less than a parser nests.

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};

/// Nested brackets, `if`s and unary operators.
pub const MAX_NESTING: usize = 64;
/// Nested `if`s: each can double the work of the type checker.
pub const MAX_IFS: usize = 16;
/// Height of a policy's syntax tree, in operators, member accesses, calls and clauses.
pub const MAX_HEIGHT: usize = 1_000;

/// The language of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Cedar policies.
    Policies,
    /// A Cedar schema.
    Schema,
}

/// The first place at which a text exceeds a limit.
pub fn find_excess(origin: SourceText<'_>, language: Language) -> Option<BundleDiagnostic> {
    let mut scanner = NestingScanner {
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
        ExceededLimit::Nesting => (
            format!("this nests deeper than {MAX_NESTING} levels of brackets, `if` and signs"),
            match language {
                Language::Policies => "split the policy, or compare with an attribute or a group",
                Language::Schema => "give the inner type a name of its own",
            },
        ),
        ExceededLimit::Ifs => (
            format!("more than {MAX_IFS} `if` stand within each other"),
            "write one policy for each case",
        ),
        ExceededLimit::Height => (
            format!("more than {MAX_HEIGHT} operators, members and clauses build on each other"),
            "split the policy, or write a set: `[...].contains(...)`",
        ),
    };
    Some(BundleDiagnostic::at(origin, at, 1, message).with_help(help))
}

enum ExceededLimit {
    Nesting,
    Ifs,
    Height,
}

/// State between two brackets, since the last comma.
#[derive(Default)]
struct Frame {
    /// `&&`, `||` and clauses, each at most one level of the tree above its operands.
    logical: usize,
    /// Operators, member accesses and calls since then, each at most one level of the tree.
    operators: usize,
    /// Height of the tallest operand before the last of those.
    between: usize,
    /// Open `if`s, each of which may contain the next.
    ifs: usize,
    /// Unary operators before the bracket.
    signs: usize,
    /// Height of the tallest closed bracket.
    tallest: usize,
    /// Height of the tallest part before the last comma.
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

    /// Begins the next part. Returns the number of `if`s that ended.
    fn next_part(&mut self) -> usize {
        self.before = self.height();
        (self.logical, self.between) = (0, 0);
        (self.operators, self.tallest) = (0, 0);
        std::mem::take(&mut self.ifs)
    }
}

struct NestingScanner<'t> {
    bytes: &'t [u8],
    at: usize,
    is_schema: bool,
    /// Whether the previous token ends an operand.
    is_after_operand: bool,
    /// Consecutive `!` and `-`.
    signs: usize,
    /// Brackets and `if`s that are open.
    nesting: usize,
    /// How many of those are `if`s.
    ifs: usize,
    /// Open brackets; the first is the statement itself, so never empty.
    frames: Vec<Frame>,
}

impl NestingScanner<'_> {
    fn run(&mut self) -> Option<(usize, ExceededLimit)> {
        while let Some(&byte) = self.bytes.get(self.at) {
            let begun = self.at;
            self.at += 1;
            self.token(byte, begun);
            if self.nesting + self.signs > MAX_NESTING {
                return Some((begun, ExceededLimit::Nesting));
            }
            if self.ifs > MAX_IFS {
                return Some((begun, ExceededLimit::Ifs));
            }
            let is_high = !self.is_schema && self.frame().height() > MAX_HEIGHT;
            if is_high {
                return Some((begun, ExceededLimit::Height));
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
        // A call or an index; in a schema, a type parameter.
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
        // The statement has no bracket of its own; the parser reports an unmatched one.
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

    /// Resets the state at `;`, which ends a policy.
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

//! Paths to arguments: `path`, `files[].path`, `parent.page_id`.
//!
//! Start at [`ArgumentPath::parse`].

use smol_str::SmolStr;

/// The maximum length of a path to an argument, in bytes.
pub const MAX_ARGUMENT_BYTES: usize = 512;
/// The maximum number of members and lists in such a path.
pub const MAX_STEPS: usize = 16;

/// The path of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentPath(Vec<PathStep>);

/// A step in the path of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// The member with this name.
    Member(SmolStr),
    /// Every item of the list.
    Items,
}

impl ArgumentPath {
    /// Parses `name`, `name[]`, `outer.inner` and combinations of them.
    ///
    /// # Errors
    ///
    /// Why the text is not a path.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_ARGUMENT_BYTES {
            return Err(format!("is longer than {MAX_ARGUMENT_BYTES} bytes"));
        }
        let mut steps = Vec::new();
        for part in text.split('.') {
            let name = part.trim_end_matches("[]");
            if name.is_empty() || name.contains(['[', ']']) {
                return Err(format!(
                    "`{text}` is not the name of an argument such as `path`, `files[].path` or `parent.page_id`"
                ));
            }
            steps.push(PathStep::Member(SmolStr::new(name)));
            let lists = (part.len() - name.len()) / 2;
            steps.extend(std::iter::repeat_n(PathStep::Items, lists));
        }
        if steps.len() > MAX_STEPS {
            return Err(format!("has more than {MAX_STEPS} parts"));
        }
        Ok(Self(steps))
    }

    /// The argument at the top level.
    pub fn outermost(&self) -> Option<&SmolStr> {
        self.0.first().and_then(|step| match step {
            PathStep::Member(name) => Some(name),
            PathStep::Items => None,
        })
    }

    /// The steps from the top level down.
    pub fn steps(&self) -> &[PathStep] {
        &self.0
    }
}

impl std::fmt::Display for ArgumentPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                PathStep::Member(name) if index > 0 => write!(f, ".{name}")?,
                PathStep::Member(name) => write!(f, "{name}")?,
                PathStep::Items => write!(f, "[]")?,
            }
        }
        Ok(())
    }
}

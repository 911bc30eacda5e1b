//! What a session has seen and done so far.

use std::sync::{Arc, LazyLock};

use callgate_engine::cedar::{EntityUID, Value};
use smol_str::SmolStr;

/// How many of the last steps are kept.
pub const LAST_STEPS: usize = 8;
/// Most labels of one session. Registrations are few, so this is never near; one more denies.
pub const MAX_LABELS: usize = 64;
/// Most different tools that are remembered of one session; one more denies.
pub const MAX_TOOLS: usize = 1_024;

/// A session at one moment. Cloning is cheap; the sets are Cedar values already.
#[derive(Debug, Clone)]
pub struct Session {
    /// Goes up with every change, so that a decision can tell whether what it saw still holds.
    pub version: u64,
    /// Whether it was ended; nothing is allowed in it then.
    pub is_ended: bool,
    /// Allowed calls so far.
    pub calls: u64,
    /// What the calls brought into it.
    pub labels: Arc<CedarSet<SmolStr>>,
    /// The tools called.
    pub tools: Arc<CedarSet<EntityUID>>,
    /// The last steps.
    recent: Recent,
}

/// The last tools called, the latest last, as places in the list of all tools called: nothing has to be
/// copied to remember one more.
#[derive(Debug, Clone, Copy, Default)]
struct Recent {
    places: [u16; LAST_STEPS],
    count: usize,
}

impl Recent {
    /// The same with one more step; the oldest goes if there is no room.
    fn with(mut self, place: u16) -> Self {
        if self.count == LAST_STEPS {
            self.places.rotate_left(1);
            self.count -= 1;
        }
        self.places[self.count] = place;
        self.count += 1;
        self
    }
}

/// A set and its Cedar value.
#[derive(Debug, Clone)]
pub struct CedarSet<T> {
    items: Vec<T>,
    value: Value,
}

impl<T: Clone + PartialEq + Into<Value>> CedarSet<T> {
    /// The set of these.
    pub fn new(items: Vec<T>) -> Self {
        let value = Value::set(items.iter().cloned().map(Into::into), None);
        Self { items, value }
    }

    /// The members, in the order in which they came.
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// The set as a Cedar value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    fn place_of(&self, item: &T) -> Option<u16> {
        let place = self.items.iter().position(|known| known == item)?;
        u16::try_from(place).ok()
    }

    /// The same set, or a new one if there is something new.
    pub fn with(self: &Arc<Self>, more: &[T]) -> Arc<Self> {
        let is_new = |item: &&T| !self.items.contains(item);
        let new: Vec<T> = more.iter().filter(is_new).cloned().collect();
        if new.is_empty() {
            return Arc::clone(self);
        }
        Arc::new(Self::new([self.items.as_slice(), &new].concat()))
    }
}

impl Session {
    /// A session in which nothing has happened.
    pub fn new() -> Self {
        static NEW: LazyLock<Session> = LazyLock::new(|| Session {
            version: 0,
            is_ended: false,
            calls: 0,
            labels: Arc::new(CedarSet::new(Vec::new())),
            tools: Arc::new(CedarSet::new(Vec::new())),
            recent: Recent::default(),
        });
        NEW.clone()
    }

    /// The same with other last steps, the latest last; those that are not among its tools are left out.
    pub fn with_last_tools(self, last: &[EntityUID]) -> Self {
        let places = last.iter().filter_map(|tool| self.tools.place_of(tool));
        Self {
            recent: places.fold(Recent::default(), Recent::with),
            ..self
        }
    }

    /// The last tools called, the latest last; at most [`LAST_STEPS`].
    pub fn last_tools(&self) -> impl DoubleEndedIterator<Item = &EntityUID> {
        let places = &self.recent.places[..self.recent.count];
        places
            .iter()
            .filter_map(|place| self.tools.items.get(usize::from(*place)))
    }

    /// The session once a call that yields these labels has been allowed, of a tool if it was one.
    pub fn after(&self, tool: Option<&EntityUID>, yields: &[SmolStr]) -> Self {
        let tools = self
            .tools
            .with(tool.map_or(&[] as &[_], std::slice::from_ref));
        let place = tool.and_then(|tool| tools.place_of(tool));
        Self {
            version: self.version + 1,
            is_ended: self.is_ended,
            calls: self.calls + 1,
            labels: self.labels.with(yields),
            recent: place.map_or(self.recent, |place| self.recent.with(place)),
            tools,
        }
    }

    /// Whether there is no room for what a call would add.
    pub fn is_full(&self) -> bool {
        self.labels.items.len() > MAX_LABELS || self.tools.items.len() > MAX_TOOLS
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

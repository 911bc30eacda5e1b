//! Sessions: what a session has read and called.

use std::sync::{Arc, LazyLock};

use callgate_engine::cedar::{EntityUID, Value};
use smol_str::SmolStr;

/// The number of recent calls kept.
pub const LAST_STEPS: usize = 8;
/// The maximum number of labels of a session; a call that exceeds it is denied.
pub const MAX_LABELS: usize = 64;
/// The maximum number of different tools of a session; a call that exceeds it is denied.
pub const MAX_TOOLS: usize = 1_024;

/// A session at one point in time. A clone is cheap; the sets hold Cedar values.
#[derive(Debug, Clone)]
pub struct Session {
    /// Incremented with every change; lets a commit detect that the session has changed since the decision.
    pub version: u64,
    /// Whether the session was ended; every call in it is denied.
    pub is_ended: bool,
    /// The number of allowed calls.
    pub calls: u64,
    /// The labels of the data that calls have read.
    pub labels: Arc<CedarSet<SmolStr>>,
    /// The tools called.
    pub tools: Arc<CedarSet<EntityUID>>,
    /// The most recent calls.
    recent: RecentTools,
}

/// The most recently called tools, latest last, as indexes into the list of all tools called, which avoids
/// copies.
#[derive(Debug, Clone, Copy, Default)]
struct RecentTools {
    places: [u16; LAST_STEPS],
    count: usize,
}

impl RecentTools {
    /// Appends a call; drops the oldest if there is no room.
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
    /// Creates a set.
    pub fn new(items: Vec<T>) -> Self {
        let value = Value::set(items.iter().cloned().map(Into::into), None);
        Self { items, value }
    }

    /// The members in insertion order.
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// The Cedar value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    fn place_of(&self, item: &T) -> Option<u16> {
        let place = self.items.iter().position(|known| known == item)?;
        u16::try_from(place).ok()
    }

    /// The set with further members, each once; the same set if there is nothing new.
    pub fn with<'t>(self: &Arc<Self>, more: impl IntoIterator<Item = &'t T>) -> Arc<Self>
    where
        T: 't,
    {
        let mut new = Vec::new();
        for item in more {
            if !self.items.contains(item) && !new.contains(item) {
                new.push(item.clone());
            }
        }
        if new.is_empty() {
            return Arc::clone(self);
        }
        Arc::new(Self::new([self.items.as_slice(), &new].concat()))
    }
}

impl Session {
    /// A session without calls.
    pub fn new() -> Self {
        static NEW: LazyLock<Session> = LazyLock::new(|| Session {
            version: 0,
            is_ended: false,
            calls: 0,
            labels: Arc::new(CedarSet::new(Vec::new())),
            tools: Arc::new(CedarSet::new(Vec::new())),
            recent: RecentTools::default(),
        });
        NEW.clone()
    }

    /// The session with other recent tools, latest last; tools it has not called are ignored.
    pub fn with_last_tools(self, last: &[EntityUID]) -> Self {
        let places = last.iter().filter_map(|tool| self.tools.place_of(tool));
        Self {
            recent: places.fold(RecentTools::default(), RecentTools::with),
            ..self
        }
    }

    /// The most recent tools, latest last; at most [`LAST_STEPS`].
    pub fn last_tools(&self) -> impl DoubleEndedIterator<Item = &EntityUID> {
        self.last_places()
            .iter()
            .filter_map(|place| self.tools.items.get(usize::from(*place)))
    }

    /// The same as places among the tools of the session.
    pub fn last_places(&self) -> &[u16] {
        &self.recent.places[..self.recent.count]
    }

    /// The session after an allowed call that brings these labels; `tool` is the tool called.
    pub fn after<'l>(
        &self,
        tool: Option<&EntityUID>,
        labels: impl IntoIterator<Item = &'l SmolStr>,
    ) -> Self {
        let tools = self.tools.with(tool);
        let place = tool.and_then(|tool| tools.place_of(tool));
        Self {
            version: self.version + 1,
            is_ended: self.is_ended,
            calls: self.calls + 1,
            labels: self.labels.with(labels),
            recent: place.map_or(self.recent, |place| self.recent.with(place)),
            tools,
        }
    }

    /// Whether a limit of labels or tools is exceeded.
    pub fn is_full(&self) -> bool {
        self.labels.items.len() > MAX_LABELS || self.tools.items.len() > MAX_TOOLS
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

//! The thread that keeps the tree: it takes leaves from the log and writes a checkpoint once a second while there are
//! any, so that the log never waits for tiles and checkpoints.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::writer::TreeWriter;
use crate::supervision::caught;

/// Time between checkpoints while there is traffic.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the tiles of a checkpoint may have to be made anew from records after a loss of power, and how many of them. A
/// file that was written so long ago is on the disk as a rule, so that to sync it takes next to nothing.
const TILES_SYNCED_EVERY: Duration = Duration::from_secs(60);
const MAX_UNSYNCED_TILES: usize = 1 << 13;
/// Leaves that may wait: 8 MiB. The log waits once there are more, until the thread has caught up.
const MAX_LEAVES: usize = 1 << 18;
/// How often leaves are taken while there are any: to be woken for each batch would cost more than to hash it.
const TAKEN_EVERY: Duration = Duration::from_millis(50);

/// How long at once it is waited for what wakes the waiting anyway.
const LONG: Duration = Duration::from_secs(60);

/// Makes records durable, as [`TreeWriter::checkpoint`] needs it.
pub type Sync = Box<dyn FnMut() -> io::Result<()> + Send>;

/// What the tree looks like from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeState {
    /// The size in the last checkpoint.
    pub signed: u64,
    /// Why the last checkpoint could not be written; `None` if it could.
    pub fault: Option<String>,
}

/// Tells the state of a tree.
#[derive(Debug, Clone, Default)]
pub struct TreeWatch(Arc<Mutex<TreeState>>);

impl TreeWatch {
    /// Of a log that goes on without a tree.
    pub fn without_tree(fault: String) -> Self {
        Self(Arc::new(Mutex::new(TreeState {
            signed: 0,
            fault: Some(fault),
        })))
    }

    /// The last checkpoint, and whether it could be written.
    pub fn state(&self) -> TreeState {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.clone()
    }
}

/// The thread with its tree. Dropping it writes a last checkpoint and ends the thread.
#[derive(Debug)]
pub struct TreeThread {
    leaves: Arc<LeafQueue>,
    state: Arc<Mutex<TreeState>>,
    thread: Option<JoinHandle<()>>,
}

impl TreeThread {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If the system has no thread.
    pub fn start(tree: TreeWriter, interval: Duration, sync: Sync) -> io::Result<Self> {
        let leaves = Arc::<LeafQueue>::default();
        let state = Arc::new(Mutex::new(TreeState {
            signed: tree.signed_size(),
            fault: None,
        }));
        let keeper = Keeper {
            leaves: Arc::clone(&leaves),
            taken: Vec::new(),
            interval,
            sync,
            tiles_due: Instant::now() + TILES_SYNCED_EVERY,
            found: tree.size(),
            tree,
            state: Arc::clone(&state),
        };
        let thread = thread::Builder::new()
            .name("callgate-tree".to_owned())
            .spawn(move || keeper.keep())?;
        Ok(Self {
            leaves,
            state,
            thread: Some(thread),
        })
    }

    /// Appends leaves, in the order of their records. Waits only if the thread is hundreds of thousands behind.
    ///
    /// # Errors
    ///
    /// If the thread has ended, which it does only by a panic.
    pub fn append(&self, leaves: &[TreeHash]) -> io::Result<()> {
        match self.leaves.append(leaves) {
            true => Ok(()),
            false => Err(io::Error::other("the thread that keeps the tree has ended")),
        }
    }

    /// Whether leaves can be appended without waiting for the thread.
    pub fn has_room(&self) -> bool {
        self.leaves.lock().has_room()
    }

    /// Tells the state, also once the thread belongs to another.
    pub fn watch(&self) -> TreeWatch {
        TreeWatch(Arc::clone(&self.state))
    }
}

impl Drop for TreeThread {
    fn drop(&mut self) {
        self.leaves.end();
        if let Some(thread) = self.thread.take() {
            // The thread has caught its panics.
            let _ = thread.join();
        }
    }
}

/// Leaves on their way to the thread, in one buffer: neither side allocates, or frees what the other has allocated.
#[derive(Debug, Default)]
struct LeafQueue {
    waiting: Mutex<WaitingLeaves>,
    /// The thread waits for leaves, the log for room.
    has_changed: Condvar,
}

#[derive(Debug, Default)]
struct WaitingLeaves {
    leaves: Vec<TreeHash>,
    /// Whether the thread has to be woken for the next leaf.
    is_idle: bool,
    /// Whether no more come, or none are taken any more.
    is_over: bool,
}

impl WaitingLeaves {
    fn has_room(&self) -> bool {
        self.leaves.len() < MAX_LEAVES
    }
}

impl LeafQueue {
    /// Appends leaves, unless nobody takes them any more.
    fn append(&self, leaves: &[TreeHash]) -> bool {
        let mut waiting = self.lock();
        while !waiting.has_room() && !waiting.is_over {
            waiting = self.wait(waiting, TAKEN_EVERY);
        }
        waiting.leaves.extend_from_slice(leaves);
        if std::mem::take(&mut waiting.is_idle) {
            self.has_changed.notify_all();
        }
        !waiting.is_over
    }

    /// Takes what waits into a buffer that is empty. If nothing waits, something or the end is waited for, at most so long.
    /// Returns whether it was the last.
    fn take(&self, into: &mut Vec<TreeHash>, longest: Duration) -> bool {
        let end = Instant::now() + longest;
        let mut waiting = self.lock();
        while waiting.leaves.is_empty() && !waiting.is_over {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            waiting.is_idle = true;
            waiting = self.wait(waiting, left);
        }
        waiting.is_idle = false;
        std::mem::swap(&mut waiting.leaves, into);
        self.has_changed.notify_all();
        waiting.is_over
    }

    /// Waits until the end, at most so long.
    fn wait_for_end(&self, longest: Duration) {
        let end = Instant::now() + longest;
        let mut waiting = self.lock();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if waiting.is_over || left.is_zero() {
                return;
            }
            waiting = self.wait(waiting, left);
        }
    }

    fn end(&self) {
        self.lock().is_over = true;
        self.has_changed.notify_all();
    }

    fn wait<'q>(
        &self,
        waiting: MutexGuard<'q, WaitingLeaves>,
        longest: Duration,
    ) -> MutexGuard<'q, WaitingLeaves> {
        let waited = self.has_changed.wait_timeout(waiting, longest);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, WaitingLeaves> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Keeper {
    tree: TreeWriter,
    leaves: Arc<LeafQueue>,
    /// What was taken; its memory is kept.
    taken: Vec<TreeHash>,
    interval: Duration,
    sync: Sync,
    /// When tiles are made durable.
    tiles_due: Instant,
    /// The size at the start.
    found: u64,
    state: Arc<Mutex<TreeState>>,
}

impl Keeper {
    /// The thread. If it panics, that is the state of the tree, and who appends hears so rather than to wait for nobody.
    fn keep(self) {
        let (leaves, state) = (Arc::clone(&self.leaves), Arc::clone(&self.state));
        if let Err(panicked) = caught("tree of the decision log", move || self.run()) {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.fault = Some(format!(
                "the thread that keeps the tree {panicked}; there are no checkpoints until a restart"
            ));
        }
        leaves.end();
    }

    fn run(mut self) {
        let mut due = Instant::now();
        loop {
            let is_over = self.take();
            if is_over || Instant::now() >= due {
                let is_written = self.checkpoint();
                if is_written {
                    self.sync_tiles(is_over);
                }
                due = Instant::now() + self.interval;
            }
            if is_over {
                return;
            }
            if self.is_behind() {
                let wait = due.saturating_duration_since(Instant::now());
                self.leaves.wait_for_end(wait.min(TAKEN_EVERY));
            }
        }
    }

    /// Appends the leaves that have come; waits for one if there is nothing to do. Returns whether they were the last.
    fn take(&mut self) -> bool {
        let longest = match (self.is_behind(), self.tree.unsynced_tiles()) {
            (true, _) => Duration::ZERO,
            (false, 0) => LONG,
            (false, _) => self.tiles_due.saturating_duration_since(Instant::now()),
        };
        let is_over = self.leaves.take(&mut self.taken, longest);
        self.taken.drain(..).for_each(|leaf| self.tree.append(leaf));
        is_over
    }

    /// Whether there is something to sign. Records that were found at the start are signed only together with the one after
    /// them, which says that they were found.
    fn is_behind(&self) -> bool {
        self.tree.size() > self.tree.signed_size().max(self.found)
    }

    /// Makes tiles durable, now and then and at the end.
    fn sync_tiles(&mut self, is_over: bool) {
        let now = Instant::now();
        if !is_over && now < self.tiles_due && self.tree.unsynced_tiles() < MAX_UNSYNCED_TILES {
            return;
        }
        self.tiles_due = now + TILES_SYNCED_EVERY;
        if let Err(error) = self.tree.sync_tiles() {
            tracing::error!(target: "callgate::audit", %error, "tiles of the decision log's tree cannot be made durable: the next start makes them anew");
        }
    }

    /// Returns whether the checkpoint is written.
    fn checkpoint(&mut self) -> bool {
        if !self.is_behind() {
            return true;
        }
        let fault = self.tree.checkpoint(&mut self.sync).err();
        let fault = fault.map(|error| error.to_string());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&state.fault, &fault) {
            (None, Some(error)) => {
                tracing::error!(target: "callgate::audit", %error, "no checkpoint of the decision log");
            }
            (Some(_), None) => {
                tracing::info!(target: "callgate::audit", "checkpoints of the decision log again");
            }
            _ => {}
        }
        let is_written = fault.is_none();
        *state = TreeState {
            signed: self.tree.signed_size(),
            fault,
        };
        is_written
    }
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;

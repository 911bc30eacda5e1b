//! The thread that keeps the tree: it takes leaves from the log and writes a checkpoint once a second while there are
//! any, so that the log never waits for tiles to be durable.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::writer::TreeWriter;

/// Time between checkpoints while there is traffic.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Batches of leaves that may wait. The log waits once there are more, until the thread has caught up.
const MAX_BATCHES: usize = 4_096;
/// How often leaves are taken while there are any: to be woken for each batch would cost more than to hash it.
const TAKEN_EVERY: Duration = Duration::from_millis(50);

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
    leaves: Option<SyncSender<Vec<TreeHash>>>,
    /// Batches that were sent and not taken yet.
    waiting: Arc<AtomicUsize>,
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
        let (leaves, taken) = mpsc::sync_channel(MAX_BATCHES);
        let state = Arc::new(Mutex::new(TreeState {
            signed: tree.signed_size(),
            fault: None,
        }));
        let waiting = Arc::new(AtomicUsize::new(0));
        let keeper = Keeper {
            tree,
            waiting: Arc::clone(&waiting),
            interval,
            sync,
            state: Arc::clone(&state),
        };
        let thread = thread::Builder::new()
            .name("callgate-tree".to_owned())
            .spawn(move || keeper.run(&taken))?;
        Ok(Self {
            leaves: Some(leaves),
            waiting,
            state,
            thread: Some(thread),
        })
    }

    /// Appends leaves, in the order of their records. Waits only if the thread is thousands of batches behind.
    ///
    /// # Errors
    ///
    /// If the thread has ended, which it does only by a panic.
    pub fn append(&self, leaves: Vec<TreeHash>) -> io::Result<()> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.leaves.as_ref().map(|it| it.send(leaves));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(io::Error::other("the thread that keeps the tree has ended")),
        }
    }

    /// Whether leaves can be appended without waiting for the thread.
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) < MAX_BATCHES
    }

    /// Tells the state, also once the thread belongs to another.
    pub fn watch(&self) -> TreeWatch {
        TreeWatch(Arc::clone(&self.state))
    }
}

impl Drop for TreeThread {
    fn drop(&mut self) {
        drop(self.leaves.take());
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic was told by the thread itself.
            let _ = thread.join();
        }
    }
}

struct Keeper {
    tree: TreeWriter,
    waiting: Arc<AtomicUsize>,
    interval: Duration,
    sync: Sync,
    state: Arc<Mutex<TreeState>>,
}

impl Keeper {
    fn run(mut self, leaves: &mpsc::Receiver<Vec<TreeHash>>) {
        let mut due = Instant::now();
        loop {
            let is_over = self.take(leaves);
            if is_over || Instant::now() >= due {
                self.checkpoint();
                due = Instant::now() + self.interval;
            }
            if is_over {
                return;
            }
            if self.is_behind() {
                let wait = due.saturating_duration_since(Instant::now());
                thread::park_timeout(wait.min(TAKEN_EVERY));
            }
        }
    }

    /// Appends the leaves that have come; waits for one if there is nothing to sign. Returns whether they were the last.
    fn take(&mut self, leaves: &mpsc::Receiver<Vec<TreeHash>>) -> bool {
        let mut next = match self.is_behind() {
            true => leaves.try_recv(),
            false => leaves.recv().map_err(TryRecvError::from),
        };
        loop {
            match next {
                Ok(batch) => {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    batch.into_iter().for_each(|leaf| self.tree.append(leaf));
                }
                Err(why) => return why == TryRecvError::Disconnected,
            }
            next = leaves.try_recv();
        }
    }

    fn is_behind(&self) -> bool {
        self.tree.size() > self.tree.signed_size()
    }

    fn checkpoint(&mut self) {
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
        *state = TreeState {
            signed: self.tree.signed_size(),
            fault,
        };
    }
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;

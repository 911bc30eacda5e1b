//! Runs jobs on all processors.
//!
//! Start at [`map_parallel`].

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread;

use crate::bundle::COMPILE_STACK_BYTES;

/// Runs all jobs and returns their results in the order of the jobs. `is_much` says whether the work justifies
/// threads.
pub fn map_parallel<J: Send, R: Send>(
    jobs: Vec<J>,
    is_much: bool,
    work: impl Fn(J) -> R + Sync,
) -> Vec<R> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    if !is_much || workers == 1 {
        return jobs.into_iter().map(work).collect();
    }
    let queue = Mutex::new(jobs.into_iter().enumerate());
    // No code that holds this lock can panic.
    let take = || queue.lock().ok().and_then(|mut queue| queue.next());
    let drain = || {
        let done = std::iter::from_fn(take).map(|(place, job)| (place, work(job)));
        done.collect::<Vec<(usize, R)>>()
    };
    let mut done = thread::scope(|scope| {
        let spawn = |_| {
            let worker = thread::Builder::new().stack_size(COMPILE_STACK_BYTES);
            worker.spawn_scoped(scope, drain).ok()
        };
        let workers: Vec<_> = (0..workers).filter_map(spawn).collect();
        let joined = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        let mut done: Vec<(usize, R)> = joined.flatten().collect();
        // Without a free thread the current one does the work.
        done.extend(drain());
        done
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
#[path = "parallel_tests.rs"]
mod tests;

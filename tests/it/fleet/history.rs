//! What was asked and answered in one run, and what must not be among it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// On a delegation that is revoked at some time.
    Delegation,
    /// In a task with a budget that is closed at some time.
    Task,
    /// With an approval.
    Approval,
    /// In a session that lets a call read what is private or send something out, and never both.
    SessionRead(usize),
    SessionSend(usize),
    /// By an agent that may post as long as it has read nothing private, whatever session it names.
    PairRead,
    PairPost,
    /// On a delegation that is granted and revoked under keys.
    Keyed(String),
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Event {
    pub about: About,
    pub replica: usize,
    pub asked: Instant,
    pub answered: Instant,
    pub is_allow: bool,
}

/// All answers of a run, and when what was taken away was acknowledged.
#[derive(Default)]
pub struct History {
    pub events: Mutex<Vec<Event>>,
    pub acknowledged: Mutex<BTreeMap<About, (usize, Instant)>>,
    /// What clients have heard that must not be.
    broken: Mutex<Vec<String>>,
}

impl History {
    pub fn add(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    pub fn add_broken(&self, what: String) {
        self.broken.lock().unwrap().push(what);
    }

    pub fn acknowledge(&self, about: About, replica: usize) {
        let mut acknowledged = self.acknowledged.lock().unwrap();
        acknowledged
            .entry(about)
            .or_insert((replica, Instant::now()));
    }

    /// What must not have happened.
    pub fn violations(&self, budget: usize, uses: usize) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let mut found = self.broken.lock().unwrap().clone();
        for (about, (replica, at)) in self.acknowledged.lock().unwrap().iter() {
            let after = |it: &&Event| it.about == *about && it.is_allow && it.asked > *at;
            for event in events.iter().filter(after) {
                let later = event.asked.duration_since(*at);
                found.push(format!(
                    "{about:?}: allowed by replica {} to a call that came {later:?} after replica {replica} had acknowledged its end",
                    event.replica
                ));
            }
        }
        for (about, most) in [(About::Task, budget), (About::Approval, uses)] {
            let allowed = events
                .iter()
                .filter(|it| it.about == about && it.is_allow)
                .count();
            if allowed > most {
                found.push(format!("{about:?}: {allowed} allowed of {most}"));
            }
        }
        let first = |about: About| events.iter().find(|it| it.about == about && it.is_allow);
        for number in 0..SESSIONS {
            let (read, sent) = (
                first(About::SessionRead(number)),
                first(About::SessionSend(number)),
            );
            if let (Some(read), Some(sent)) = (read, sent) {
                let (read, sent) = (read.replica, sent.replica);
                found.push(format!(
                    "session {number}: replica {read} let it read and replica {sent} send"
                ));
            }
        }
        let reads = events
            .iter()
            .filter(|it| it.about == About::PairRead && it.is_allow);
        if let Some(read) = reads.min_by_key(|it| it.answered) {
            let after = |it: &&Event| {
                it.about == About::PairPost && it.is_allow && it.asked > read.answered
            };
            for post in events.iter().filter(after) {
                let later = post.asked.duration_since(read.answered);
                found.push(format!(
                    "replica {} let a post pass that came {later:?} after replica {} had let something private be read",
                    post.replica, read.replica
                ));
            }
        }
        found
    }
}

/// Sessions of one run.
pub const SESSIONS: usize = 4;

//! What many stored delegations occupy, in memory and on the disk, and how long a start with them takes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use callgate::domain::authority::change::{Change, ChangeOrigin, ChangeRecord};
use callgate::service::Service;
use callgate::service::clock::SystemClock;
use callgate::service::settings::ServiceSettings;
use callgate::store::backend::{Store, StoreWrite};
use callgate::store::sqlite::SqliteStore;
use callgate::telemetry::record::recorder::Recorder;

use crate::{Fault, company, facts, live_bytes, median, metric, scratch};

const DELEGATIONS: usize = 100_000;
/// Changes in one commit.
const GROUP: usize = 1_000;
const STARTS: usize = 5;

/// Prints `state.bytes_per_delegation` and `load.100000_delegations`.
pub fn measure() -> Result<(), Fault> {
    let folder = scratch()?;
    let file = folder.path().join("callgate.db");
    fill(&file)?;
    let bytes: u64 = std::fs::read_dir(folder.path())?
        .map(|entry| Ok::<_, Fault>(entry?.metadata()?.len()))
        .sum::<Result<u64, Fault>>()?;
    let each = |bytes: u64| bytes as f64 / DELEGATIONS as f64;
    metric("state.disk_bytes_per_delegation", each(bytes), "bytes");
    // Of the directory alone, which is loaded before and not counted.
    let mut seconds = Vec::new();
    for start in 0..STARTS {
        let load = company::load(company::Rules::LiveFacts)?;
        let before = live_bytes();
        let begun = Instant::now();
        let store = Box::new(SqliteStore::open(&file)?);
        let clock = Arc::new(SystemClock);
        let service = Service::open(
            ServiceSettings::default(),
            Recorder::default(),
            store,
            clock,
        )?;
        service.publish(load)?;
        seconds.push(begun.elapsed().as_secs_f64());
        let live = service.live().ok_or("nothing is in service")?;
        assert_eq!(live.authority.delegations.size(), DELEGATIONS);
        if start == 0 {
            let bytes = live_bytes().saturating_sub(before);
            metric("state.bytes_per_delegation", each(bytes as u64), "bytes");
        }
        service.close();
    }
    metric("load.100000_delegations", median(seconds), "s");
    Ok(())
}

fn fill(file: &Path) -> Result<(), Fault> {
    let mut store = SqliteStore::open(file)?;
    let now = SystemTime::now();
    for first in (0..DELEGATIONS).step_by(GROUP) {
        let writes: Vec<StoreWrite> = (first..first + GROUP)
            .map(|number| {
                let id = format!("delegation-{}", uuid::Uuid::from_u128(number as u128));
                let delegation = facts::grant(&id, now + Duration::from_millis(number as u64));
                StoreWrite::Entry {
                    entry: ChangeRecord {
                        revision: number as u64 + 1,
                        at: now,
                        verb: "GrantDelegation".into(),
                        change: Change::Grant(Arc::new(delegation)),
                        asker: ChangeOrigin {
                            caller: "bench".into(),
                            principal: None,
                            key: None,
                        },
                    },
                    id: id.into(),
                }
            })
            .collect();
        store.commit(&writes)?;
    }
    Ok(())
}

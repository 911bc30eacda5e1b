//! What several replicas cost: `cargo bench --bench fleet`.
//!
//! Three services in this process over a PostgreSQL server of its own that waits for the disk, as it should: what a
//! decision costs beside one of a server alone, how soon a revocation denies everywhere, how long its acknowledgement
//! takes when a replica is gone, how many calls and writes three replicas take, and what it costs when a session moves.
//! Needs PostgreSQL, as the tests do.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callgate::analysis::archive;
use callgate::authn::caller::Caller;
use callgate::control::error::ControlError;
use callgate::control::requester::WriteRequester;
use callgate::control::write::Control;
use callgate::domain::authority::change::{Change, ChangeOrigin};
use callgate::domain::authority::delegation::Delegation;
use callgate::domain::request::call_context::{ActorChain, CallContext, Operation, Subject};
use callgate::domain::schema::{self, TYPES};
use callgate::reload::loading::Loader;
use callgate::reload::published::PublishedCompiler;
use callgate::service::Service;
use callgate::service::clock::SystemClock;
use callgate::service::deadline::Deadline;
use callgate::service::ledger::PlannedChange;
use callgate::service::pending::Progress;
use callgate::service::request::RequestMeta;
use callgate::service::settings::ServiceSettings;
use callgate::store::postgres::PostgresStore;
use callgate::store::postgres::membership::ReplicaName;
use callgate::telemetry::record::recorder::Recorder;
use serde_json::Map;
use tokio::task::JoinSet;

#[path = "../control/company.rs"]
#[allow(dead_code, reason = "the other benchmark writes it to a directory")]
mod company;
#[path = "../../tests/it/support/port.rs"]
mod port;
#[path = "../../tests/it/support/postgres.rs"]
#[allow(dead_code, reason = "tests do more with it")]
mod postgres;

type Fault = Box<dyn std::error::Error + Send + Sync>;

const CALLS: usize = 20_000;
const ROUNDS: usize = 20;
const REVOCATIONS: usize = 200;
const TAKEOVERS: usize = 200;
const WRITERS: usize = 16;
const WRITES: usize = 40;
/// As many writers as a commit takes requests of a replica.
const FULL: usize = 256;
const POLICIES: usize = 10_000;
const PUBLICATIONS: u64 = 5;
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn main() -> Result<(), Fault> {
    let cluster = postgres::Cluster::with_settings(&["fsync=on"]);
    cluster.create("fleet");
    let url = cluster.url("fleet");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let replicas = (0..3)
        .map(|number| open(&url, number))
        .collect::<Result<Vec<_>, _>>()?;
    let alone = Service::in_memory(ServiceSettings::default(), Recorder::default())?;
    alone.publish(company::load(company::Rules::AllLabels)?)?;
    runtime.block_on(async {
        for replica in &replicas {
            let fleet = replica.fleet().ok_or("no fleet")?;
            fleet.state().refreshed(Duration::from_secs(10)).await?;
        }
        decide_vs_single(&replicas[0], &alone).await?;
        revoke_to_deny(&replicas).await?;
        session_takeover(&replicas).await?;
        throughput(&replicas).await?;
        slopes(&replicas[0]).await?;
        publish_to_all(&replicas).await?;
        ack_under_partition(replicas, &url).await
    })
}

fn open(url: &str, number: usize) -> Result<Arc<Service>, Fault> {
    let mut store = PostgresStore::open(url, Path::new("."), None)?;
    let name = ReplicaName {
        name: format!("replica {number}"),
        version: "bench".to_owned(),
        max_staleness: Duration::from_secs(2),
    };
    let member = (store.join(&name)?, name);
    let (settings, recorder) = (ServiceSettings::default(), Recorder::default());
    let service = Service::open_shared(
        settings,
        recorder,
        Box::new(store),
        Arc::new(SystemClock),
        member,
    )?;
    service.publish(company::load(company::Rules::AllLabels)?)?;
    Ok(Arc::new(service))
}

/// Ana delegates to her agent.
fn grant(id: &str, service: &Service) -> Delegation {
    let now = service.now();
    Delegation {
        id: id.into(),
        from: schema::entity_uid(&TYPES.user, "ana"),
        to: schema::entity_uid(&TYPES.agent, "one"),
        scope: callgate::domain::authority::scope::Scope {
            tools: vec![schema::tool_uid("mail", "list")],
            servers: Vec::new(),
            groups: Vec::new(),
            access: schema::AccessLevel::Read,
            targets: Vec::new(),
        },
        task: None,
        parent: None,
        max_redelegations: 0,
        not_before: now,
        expires_at: now + DAY,
        revoked_at: None,
        created_at: now,
        owners: Default::default(),
    }
}

async fn write(
    service: &Arc<Service>,
    verb: &'static str,
    delegation: Delegation,
) -> Result<u64, Fault> {
    let asked = ChangeOrigin {
        caller: "bench".into(),
        principal: None,
        key: None,
    };
    let plan = PlannedChange {
        verb,
        id: delegation.id.text().clone(),
        change: Change::Grant(Arc::new(delegation)),
    };
    let planned = |_: &_| Ok::<_, std::convert::Infallible>(plan.clone());
    Ok(service
        .ledger()
        .write(asked, service.now(), planned)
        .await?
        .revision)
}

fn call(delegation: Option<&str>, session: Option<&str>) -> CallContext {
    let by = Subject::verified(schema::entity_uid(&TYPES.agent, "one"), "jwt");
    let mut call = CallContext::new(by, Operation::call_tool("mail", "list", Map::new()));
    call.actor_chain = Some(match delegation {
        Some(id) => ActorChain::from_delegation_ids(vec![id.into()]),
        None => ActorChain::verified_from(schema::entity_uid(&TYPES.user, "ana")),
    });
    call.workflow.session_id = session.map(Into::into);
    call
}

async fn decide(
    service: &Service,
    call: &CallContext,
    at_least_revision: u64,
) -> Result<bool, Fault> {
    let caller = Caller::local();
    let ask = RequestMeta {
        caller: &caller,
        adapter: "bench",
        at_least_revision,
        is_dry_run: false,
        deadline: Deadline::NONE,
        request_id: None,
    };
    let answer = match service.authorize_now(ask, call)? {
        Progress::Ready(answer) => answer,
        Progress::Unrecorded(response) => service.recorded(response.to(service, call)).await,
        Progress::Pending(later) => service.finish(later, call).await?,
    };
    Ok(answer.value.is_allow())
}

/// A call in a session that stays where it is, beside the same of a server alone.
async fn decide_vs_single(replica: &Arc<Service>, alone: &Service) -> Result<(), Fault> {
    let call = call(None, Some("stays"));
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let mut took = [0.0; 2];
        // Each is first in every second round.
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let service = [&**replica, alone][which];
            let begun = Instant::now();
            for _ in 0..CALLS {
                assert!(decide(service, &call, 0).await?);
            }
            took[which] = begun.elapsed().as_secs_f64();
        }
        ratios.push(took[0] / took[1]);
    }
    metric("fleet.decide_vs_single", part(&mut ratios, 50), "ratio");
    Ok(())
}

/// From the beginning of a revocation at one replica to its acknowledgement, from which on all three deny.
async fn revoke_to_deny(replicas: &[Arc<Service>]) -> Result<(), Fault> {
    let mut took = Vec::new();
    for number in 0..REVOCATIONS {
        let id = format!("delegation-{number}");
        let (one, others) = (&replicas[number % 3], call(Some(&id), None));
        let delegation = grant(&id, one);
        let revision = write(one, "GrantDelegation", delegation.clone()).await?;
        for replica in replicas {
            assert!(decide(replica, &others, revision).await?);
        }
        let revoked_at = Some(one.now());
        let begun = Instant::now();
        write(
            one,
            "RevokeDelegation",
            Delegation {
                revoked_at,
                ..delegation
            },
        )
        .await?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        for replica in replicas {
            assert!(!decide(replica, &others, 0).await?);
        }
    }
    metric("fleet.revoke_to_deny.p50", part(&mut took, 50), "ms");
    metric("fleet.revoke_to_deny.p99", part(&mut took, 99), "ms");
    Ok(())
}

/// A session whose every call arrives at another replica.
async fn session_takeover(replicas: &[Arc<Service>]) -> Result<(), Fault> {
    let call = call(None, Some("moves"));
    let mut took = Vec::new();
    for number in 0..TAKEOVERS {
        let begun = Instant::now();
        assert!(decide(&replicas[number % 3], &call, 0).await?);
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    metric("fleet.session_takeover.p50", part(&mut took, 50), "ms");
    metric("fleet.session_takeover.p99", part(&mut took, 99), "ms");
    Ok(())
}

/// Grants a second by several writers at one, two and three replicas.
async fn throughput(replicas: &[Arc<Service>]) -> Result<(), Fault> {
    for count in 1..=replicas.len() {
        let rate = written_a_second(&replicas[..count], WRITERS, "several").await?;
        metric(&format!("fleet.throughput.{count}"), rate, "writes/s");
    }
    Ok(())
}

/// What a commit of one write takes, and what each further write of a full one adds: what `scripts/capacity` begins from.
async fn slopes(replica: &Arc<Service>) -> Result<(), Fault> {
    let one = std::slice::from_ref(replica);
    let commit = 1e3 / written_a_second(one, 1, "alone").await?;
    let full = FULL as f64 * 1e3 / written_a_second(one, FULL, "full").await?;
    metric("fleet.commit_ms", commit, "ms");
    let further = (full - commit).max(0.0) / (FULL - 1) as f64;
    metric("fleet.write_ms", further, "ms");
    Ok(())
}

/// Grants a second by so many writers, of whom each waits for its last one.
async fn written_a_second(
    replicas: &[Arc<Service>],
    writers: usize,
    what: &'static str,
) -> Result<f64, Fault> {
    let begun = Instant::now();
    let mut writing = JoinSet::new();
    let among = replicas.len();
    for writer in 0..writers {
        let service = Arc::clone(&replicas[writer % among]);
        writing.spawn(async move {
            for number in 0..WRITES {
                let id = format!("written-{what}-{among}-{writer}-{number}");
                let delegation = grant(&id, &service);
                write(&service, "GrantDelegation", delegation).await?;
            }
            Ok::<_, Fault>(())
        });
    }
    while let Some(done) = writing.join_next().await {
        done??;
    }
    let count = (writers * WRITES) as f64;
    Ok(count / begun.elapsed().as_secs_f64())
}

/// A bundle of ten thousand policies: from the first request to the acknowledgement that every replica decides by it, and
/// the last request of that, once all have compiled it. The three replicas share the processors of this machine.
async fn publish_to_all(replicas: &[Arc<Service>]) -> Result<(), Fault> {
    let dir = tempfile::tempdir()?;
    company::write(dir.path(), company::Rules::AllLabels)?;
    let policy = |number| {
        format!(
            "@id(\"many-{number}\") permit (principal is Mcp::User, action in Mcp::Action::\"call_tool\", resource) \
             when {{ context has delegation && context.delegation.depth == {number} }};\n"
        )
    };
    std::fs::write(
        dir.path().join("many.cedar"),
        (0..POLICIES).map(policy).collect::<String>(),
    )?;
    for replica in replicas {
        let compiler = PublishedCompiler::new(Loader::new(dir.path()), None);
        replica.ledger().bundles().set_preparer(Arc::new(compiler));
    }
    let control = Control::new(Arc::clone(&replicas[0]), Arc::default());
    let author = WriteRequester {
        caller: Arc::new(Caller::local()),
        adapter: "bench",
        actor: Subject {
            entity: schema::entity_uid(&TYPES.user, "ana"),
            identity: Default::default(),
            claims: Default::default(),
        },
        key: None,
        trace: Default::default(),
    };
    let (mut whole, mut switch) = (Vec::new(), Vec::new());
    for version in 1..=PUBLICATIONS {
        let packed = archive::build(dir.path(), version, None).map_err(|it| it.to_string())?;
        let bytes: Arc<[u8]> = packed.bytes.into();
        let begun = Instant::now();
        let (asked, revision) = loop {
            let asked = Instant::now();
            match control.publish_bundle(&author, Arc::clone(&bytes)).await {
                Ok(done) => break (asked, done.revision),
                Err(ControlError::UnderWay(_)) => {}
                Err(error) => return Err(error.into()),
            }
        };
        whole.push(begun.elapsed().as_secs_f64() * 1e3);
        switch.push(asked.elapsed().as_secs_f64() * 1e3);
        for replica in replicas {
            let live = replica.live().ok_or("nothing is in service")?;
            if live.revision() < revision {
                return Err("a replica is behind what was acknowledged".into());
            }
        }
    }
    metric("fleet.publish_to_all", part(&mut whole, 50), "ms");
    metric("fleet.publish_switch", part(&mut switch, 50), "ms");
    Ok(())
}

/// The acknowledgement of a revocation right after a replica has vanished.
async fn ack_under_partition(mut replicas: Vec<Arc<Service>>, url: &str) -> Result<(), Fault> {
    let mut took = Vec::new();
    for number in 0..3 {
        let one = Arc::clone(&replicas[0]);
        let delegation = grant(&format!("partition-{number}"), &one);
        write(&one, "GrantDelegation", delegation.clone()).await?;
        let gone = replicas.pop().ok_or("no replica")?;
        // It says nothing any more, and does not take its leave.
        drop(gone);
        let revoked_at = Some(one.now());
        let begun = Instant::now();
        write(
            &one,
            "RevokeDelegation",
            Delegation {
                revoked_at,
                ..delegation
            },
        )
        .await?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        replicas.push(open(url, number)?);
    }
    metric("fleet.ack_under_partition", part(&mut took, 50), "ms");
    Ok(())
}

fn metric(name: &str, value: f64, unit: &str) {
    println!("METRIC {name} {value:.3} {unit}");
}

/// The value below which so many of a hundred lie.
fn part(samples: &mut [f64], percent: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[(samples.len() * percent / 100).min(samples.len() - 1)]
}

//! Other kinds of calls against the typical read: CPU time of the server per call, in turns.
//!
//! `benches/instructions` has the same kinds without protocol, session store, record and span.

use crate::questions::{self, Question};
use crate::served::load::{self, Load};
use crate::served::process::Server;
use crate::served::{Fault, IN_FLIGHT, ROUNDS, calls, median, metric};
use crate::{Served, authority};

/// Calls in one measurement; a filter of many tools is as much work as many calls.
const CALLS: usize = 10_000;
const FILTERS: usize = 1_000;

/// One kind, and what was measured of it.
struct Kind {
    /// Its name in metrics, without that of the benchmark.
    name: &'static str,
    question: Question,
    load: Load,
    calls: usize,
    costs: Vec<f64>,
    ratios: Vec<f64>,
}

impl Kind {
    /// CPU microseconds of the server per call.
    async fn cost(&self, server: &Server) -> Result<f64, Fault> {
        let before = server.cpu_seconds()?;
        load::run(&self.load, self.calls, IN_FLIGHT).await?;
        Ok((server.cpu_seconds()? - before) / self.calls as f64 * 1e6)
    }
}

/// Prints what a call of each kind costs, and that over what a read costs.
pub async fn measure(served: &Served) -> Result<(), Fault> {
    let channel = &served.channel;
    questions::label_sessions(channel).await?;
    let chain = authority::grant(channel.clone()).await?;
    let kind = |name, question: Question| Kind {
        name,
        load: question.load(channel.clone()),
        calls: match question {
            Question::Filter(_) => calls(FILTERS),
            _ => calls(CALLS),
        },
        question,
        costs: Vec::new(),
        ratios: Vec::new(),
    };
    let read = kind("mix.read", Question::Allowed(served.request.clone()));
    let mut kinds = [
        kind("mix.typed_write", Question::typed_write()),
        kind("mix.denied_write", Question::denied_write()),
        kind("mix.chain", Question::chain(chain)),
        kind("mix.file", Question::file()),
        kind("mix.cedar", Question::cedar()),
        kind("filter_100_tools", Question::filter()),
    ];
    for kind in &kinds {
        kind.question.check(channel).await?;
        load::run(&kind.load, kind.calls.div_ceil(4), IN_FLIGHT).await?;
    }
    let mut reads = Vec::new();
    for _ in 0..ROUNDS {
        let per_read = read.cost(&served.server).await?;
        reads.push(per_read);
        for kind in &mut kinds {
            let per_call = kind.cost(&served.server).await?;
            kind.costs.push(per_call);
            kind.ratios.push(per_call / per_read);
        }
    }
    metric("grpc.mix.read", median(reads), "us");
    for kind in kinds {
        // Nothing that was counted meanwhile changed the answer.
        kind.question.check(channel).await?;
        let name = kind.name;
        metric(&format!("grpc.{name}"), median(kind.costs), "us");
        metric(
            &format!("grpc.{name}_vs_read"),
            median(kind.ratios),
            "ratio",
        );
    }
    Ok(())
}

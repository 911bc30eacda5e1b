//! Other kinds of calls against the typical read: CPU time of the server per call, in turns.
//!
//! `benches/instructions` has the same kinds without protocol, session store, record and span.

use crate::questions::{self, Question};
use crate::served::load::Load;
use crate::served::process::Server;
use crate::served::turns::{self, Asked, Side, ratios};
use crate::served::{Fault, calls, median, metric};
use crate::{Served, authority};

/// Calls in one round; a filter of many tools is as much work as many calls.
const CALLS: usize = 10_000;
const FILTERS: usize = 1_000;

/// One kind of calls.
pub struct Kind<'a> {
    /// Its name in metrics, without that of the benchmark.
    name: &'static str,
    question: Question,
    side: Asked<'a, Load>,
}

/// Every kind, the read first, asked of one server. Each is checked.
pub async fn kinds(served: &Served) -> Result<Vec<Kind<'_>>, Fault> {
    let channel = &served.channel;
    questions::label_sessions(channel).await?;
    let chain = authority::grant(channel.clone()).await?;
    let kind = |name, question: Question| Kind {
        name,
        side: Asked {
            server: &served.server,
            asker: question.load(channel.clone()),
            calls: match question {
                Question::Filter(_) => calls(FILTERS),
                _ => calls(CALLS),
            },
        },
        question,
    };
    let kinds = vec![
        kind("mix.read", Question::Allowed(served.request.clone())),
        kind("mix.typed_write", Question::typed_write()),
        kind("mix.denied_write", Question::denied_write()),
        kind("mix.chain", Question::chain(chain)),
        kind("mix.file", Question::file()),
        kind("mix.cedar", Question::cedar()),
        kind("filter_100_tools", Question::filter()),
    ];
    check(&kinds, served).await?;
    Ok(kinds)
}

/// Sees to it that each kind has its answer.
async fn check(kinds: &[Kind<'_>], served: &Served) -> Result<(), Fault> {
    for kind in kinds {
        kind.question.check(&served.channel).await?;
    }
    Ok(())
}

/// Prints what a call of each kind costs, and that over what a read costs.
pub async fn measure(served: &Served) -> Result<(), Fault> {
    let kinds = kinds(served).await?;
    let costs = turns::cpu_per_call(&kinds).await?;
    // Nothing that was counted meanwhile changed the answer.
    check(&kinds, served).await?;
    for (at, (Kind { name, .. }, costs_of_kind)) in kinds.iter().zip(&costs).enumerate() {
        metric(&format!("grpc.{name}"), median(costs_of_kind.clone()), "us");
        if at > 0 {
            metric(
                &format!("grpc.{name}_vs_read"),
                median(ratios(costs_of_kind, &costs[0])),
                "ratio",
            );
        }
    }
    Ok(())
}

/// Prints what a call of each kind costs this build over what it costs another.
pub async fn against(served: &Served, other: &Served) -> Result<(), Fault> {
    let (ours, theirs) = (kinds(served).await?, kinds(other).await?);
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        let name = ours.name;
        let costs = turns::cpu_per_call(&[ours.side, theirs.side]).await?;
        let ratios = ratios(&costs[0], &costs[1]);
        let cost = median(costs[0].clone());
        metric(&format!("against.{name}"), cost, "us");
        metric(&format!("against.{name}_vs_other"), median(ratios), "ratio");
    }
    Ok(())
}

impl Side for Kind<'_> {
    fn server(&self) -> &Server {
        self.side.server()
    }

    fn calls(&self) -> usize {
        self.side.calls()
    }

    async fn ask(&self, calls: usize) -> Result<(), Fault> {
        self.side.ask(calls).await
    }
}

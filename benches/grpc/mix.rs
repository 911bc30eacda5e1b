//! Other kinds of calls against the typical read: CPU time of the server per call, in turns.
//!
//! `benches/instructions` has the same kinds without protocol, session store, record and span.

use crate::questions::{self, Question};
use crate::served::load::Load;
use crate::served::turns::{self, Side};
use crate::served::{Fault, calls, metric};
use crate::{Served, authority};

/// Calls in one round; a filter of many tools is as much work as many calls.
const CALLS: usize = 10_000;
const FILTERS: usize = 1_000;

/// One kind of calls.
struct Kind {
    /// Its name in metrics, without that of the benchmark.
    name: &'static str,
    question: Question,
}

/// Every kind, the read first.
async fn kinds(served: &Served) -> Result<Vec<Kind>, Fault> {
    let channel = &served.channel;
    questions::label_sessions(channel).await?;
    let chain = authority::grant(channel.clone()).await?;
    let kind = |name, question| Kind { name, question };
    Ok(vec![
        kind("mix.read", Question::Allowed(served.request.clone())),
        kind("mix.typed_write", Question::typed_write()),
        kind("mix.denied_write", Question::denied_write()),
        kind("mix.chain", Question::chain(chain)),
        kind("mix.file", Question::file()),
        kind("mix.cedar", Question::cedar()),
        kind("filter_100_tools", Question::filter()),
    ])
}

/// Sees to it that each kind has its answer.
async fn check(kinds: &[Kind], served: &Served) -> Result<(), Fault> {
    for kind in kinds {
        kind.question.check(&served.channel).await?;
    }
    Ok(())
}

impl Kind {
    /// To ask this of a server.
    fn side<'a>(&self, served: &'a Served) -> Side<'a, Load> {
        Side {
            server: &served.server,
            asker: self.question.load(served.channel.clone()),
            calls: match self.question {
                Question::Filter(_) => calls(FILTERS),
                _ => calls(CALLS),
            },
        }
    }
}

/// Prints what a call of each kind costs, and that over what a read costs.
pub async fn measure(served: &Served) -> Result<(), Fault> {
    let kinds = kinds(served).await?;
    check(&kinds, served).await?;
    let sides: Vec<_> = kinds.iter().map(|kind| kind.side(served)).collect();
    let costs = turns::cpu_per_call(&sides).await?;
    // Nothing that was counted meanwhile changed the answer.
    check(&kinds, served).await?;
    for (at, (Kind { name, .. }, of_kind)) in kinds.iter().zip(&costs).enumerate() {
        metric(&format!("grpc.{name}"), of_kind.median(), "us");
        if at > 0 {
            let ratio = of_kind.over(&costs[0]);
            metric(&format!("grpc.{name}_vs_read"), ratio, "ratio");
        }
    }
    Ok(())
}

/// Prints what a call of each kind costs this build, and that over what it costs another.
pub async fn against(served: &Served, other: &Served) -> Result<(), Fault> {
    let (ours, theirs) = (kinds(served).await?, kinds(other).await?);
    check(&ours, served).await?;
    check(&theirs, other).await?;
    for (our, their) in ours.iter().zip(&theirs) {
        let costs = turns::cpu_per_call(&[our.side(served), their.side(other)]).await?;
        let name = our.name;
        metric(&format!("against.{name}"), costs[0].median(), "us");
        let ratio = costs[0].over(&costs[1]);
        metric(&format!("against.{name}_vs_other"), ratio, "ratio");
    }
    check(&ours, served).await?;
    check(&theirs, other).await
}

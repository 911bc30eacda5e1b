//! The typical call, one answer for each request, against the echo: CPU time, and latency with few calls in flight.

use prost::Message;

use crate::served::load::{self, Load};
use crate::served::process::Server;
use crate::served::turns::{self, Side};
use crate::served::{Fault, QUIET_IN_FLIGHT, ROUNDS, calls, median, metric};
use crate::{AUTHORIZE, Served, echo};

/// Calls in one round of CPU time, and in one measurement of latency.
const CALLS: usize = 20_000;
const QUIET_CALLS: usize = 5_000;

/// The same call to Callgate and to the echo.
struct Sides {
    echo: Server,
    authorize: Load,
    bare: Load,
}

impl Sides {
    async fn of(served: &Served) -> Result<Self, Fault> {
        let echo = echo::spawn(served.answer_bytes)?;
        let request = served.request.encode_to_vec();
        Ok(Self {
            authorize: Load::new(served.channel.clone(), AUTHORIZE, request.clone()),
            bare: Load::new(echo.connect().await?, echo::PATH, request),
            echo,
        })
    }
}

/// Prints what a call costs, what one to the echo costs, and the first over the second.
pub async fn cpu(served: &Served) -> Result<(), Fault> {
    let Sides {
        echo,
        authorize,
        bare,
    } = Sides::of(served).await?;
    let side = |server, asker| Side {
        server,
        asker,
        calls: calls(CALLS),
    };
    let sides = [side(&served.server, authorize), side(&echo, bare)];
    let costs = turns::cpu_per_call(&sides).await?;
    metric("grpc.cpu_per_authorize", costs[0].median(), "us");
    metric("grpc.cpu_per_echo", costs[1].median(), "us");
    metric("grpc.cpu_vs_echo", costs[0].over(&costs[1]), "ratio");
    Ok(())
}

/// Prints percentiles with two calls in flight, and the median with one.
pub async fn latency(served: &Served) -> Result<(), Fault> {
    let sides = Sides::of(served).await?;
    let (mut ratios, mut p50s, mut p99s) = (Vec::new(), Vec::new(), Vec::new());
    let (mut single_ratios, mut singles) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let ours = percentiles(&sides.authorize, QUIET_IN_FLIGHT).await?;
        let theirs = percentiles(&sides.bare, QUIET_IN_FLIGHT).await?;
        p50s.push(ours.p50);
        p99s.push(ours.p99);
        ratios.push(ours.p99 / theirs.p99);
        let ours = percentiles(&sides.authorize, 1).await?;
        let theirs = percentiles(&sides.bare, 1).await?;
        singles.push(ours.p50);
        single_ratios.push(ours.p50 / theirs.p50);
    }
    metric("grpc.p50", median(p50s), "us");
    metric("grpc.p99", median(p99s), "us");
    metric("grpc.p99_vs_echo", median(ratios), "ratio");
    metric("grpc.single_p50", median(singles), "us");
    metric("grpc.single_vs_echo", median(single_ratios), "ratio");
    Ok(())
}

/// Microseconds.
struct Percentiles {
    p50: f64,
    p99: f64,
}

async fn percentiles(load: &Load, in_flight: usize) -> Result<Percentiles, Fault> {
    let latencies = load::run(load, calls(QUIET_CALLS), in_flight).await?;
    let microseconds = |percent| latencies.percentile(percent).as_secs_f64() * 1e6;
    Ok(Percentiles {
        p50: microseconds(50),
        p99: microseconds(99),
    })
}

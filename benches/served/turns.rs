//! CPU time of several sides, asked in short turns so that all of them meet the same machine: what neighbours take from it
//! changes from one second to the next.

use crate::served::load::{self, Ask};
use crate::served::process::Server;
use crate::served::{Fault, IN_FLIGHT, ROUNDS};

/// Turns of each side in a round.
const TURNS: usize = 20;

/// One of the things that are compared.
pub trait Side {
    /// Who answers.
    fn server(&self) -> &Server;

    /// Calls in a round.
    fn calls(&self) -> usize;

    /// Asks so many times.
    fn ask(&self, calls: usize) -> impl Future<Output = Result<(), Fault>>;
}

/// What is asked of a server, and how often in a round.
pub struct Asked<'a, A> {
    pub server: &'a Server,
    pub asker: A,
    pub calls: usize,
}

impl<A: Ask + Sync> Side for Asked<'_, A> {
    fn server(&self) -> &Server {
        self.server
    }

    fn calls(&self) -> usize {
        self.calls
    }

    async fn ask(&self, calls: usize) -> Result<(), Fault> {
        load::run(&self.asker, calls, IN_FLIGHT).await?;
        Ok(())
    }
}

/// CPU microseconds of the server for each call of a side, one for each round.
///
/// A server that answers one side alone is counted through the whole round: what it does later, for calls that are answered,
/// is part of what they cost. One that answers several is counted while it is asked.
pub async fn cpu_per_call(sides: &[impl Side]) -> Result<Vec<Vec<f64>>, Fault> {
    for side in sides {
        side.ask(side.calls().div_ceil(4)).await?;
    }
    let mut costs = vec![Vec::new(); sides.len()];
    for _ in 0..ROUNDS {
        for (costs, cost) in costs.iter_mut().zip(round(sides).await?) {
            costs.push(cost);
        }
    }
    Ok(costs)
}

/// The ratio of each round.
pub fn ratios(costs: &[f64], base: &[f64]) -> Vec<f64> {
    costs
        .iter()
        .zip(base)
        .map(|(cost, base)| cost / base)
        .collect()
}

async fn round(sides: &[impl Side]) -> Result<Vec<f64>, Fault> {
    let begun: Vec<f64> = sides
        .iter()
        .map(|side| side.server().cpu_seconds())
        .collect::<Result<_, _>>()?;
    let mut asked = vec![0.0; sides.len()];
    for turn in 0..TURNS {
        for at in 0..sides.len() {
            // There and back, so that none always comes after the same one.
            let at = if turn % 2 == 0 {
                at
            } else {
                sides.len() - 1 - at
            };
            let side = &sides[at];
            let before = side.server().cpu_seconds()?;
            side.ask(side.calls().div_ceil(TURNS)).await?;
            asked[at] += side.server().cpu_seconds()? - before;
        }
    }
    let mut costs = Vec::with_capacity(sides.len());
    for (at, side) in sides.iter().enumerate() {
        let is_shared = |other: &&_| side.server().id() == Side::server(*other).id();
        let seconds = match sides.iter().filter(is_shared).count() {
            1 => side.server().cpu_seconds()? - begun[at],
            _ => asked[at],
        };
        let calls = side.calls().div_ceil(TURNS) * TURNS;
        costs.push(seconds / calls as f64 * 1e6);
    }
    Ok(costs)
}

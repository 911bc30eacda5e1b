//! CPU time of several sides, asked in short turns so that all of them meet the same machine: what neighbours take from it
//! changes from one second to the next.

use crate::served::load::{self, Ask};
use crate::served::process::Server;
use crate::served::{Fault, IN_FLIGHT, ROUNDS, median};

/// Turns of each side in a round.
const TURNS: usize = 20;

/// One of the things that are compared: what is asked of a server, and how often in a round.
pub struct Side<'a, A> {
    pub server: &'a Server,
    pub asker: A,
    pub calls: usize,
}

/// CPU microseconds of a server per call, one figure for each round.
pub struct Costs(Vec<f64>);

impl Costs {
    /// What a call costs.
    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// That over what it costs another side in the same round.
    pub fn over(&self, base: &Self) -> f64 {
        let rounds = self.0.iter().zip(&base.0);
        median(rounds.map(|(cost, base)| cost / base).collect())
    }
}

impl<A: Ask> Side<'_, A> {
    async fn ask(&self, calls: usize) -> Result<(), Fault> {
        load::run(&self.asker, calls, IN_FLIGHT).await?;
        Ok(())
    }

    fn calls_in_turn(&self) -> usize {
        self.calls.div_ceil(TURNS)
    }
}

/// What a call costs each side.
///
/// A server that answers one side alone is counted through the whole round: what it does later, for calls that are answered,
/// is part of what they cost. One that answers several is counted while it is asked.
pub async fn cpu_per_call<A: Ask>(sides: &[Side<'_, A>]) -> Result<Vec<Costs>, Fault> {
    for side in sides {
        side.ask(side.calls.div_ceil(4)).await?;
    }
    let mut costs: Vec<Costs> = sides.iter().map(|_| Costs(Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (costs, cost) in costs.iter_mut().zip(round(sides).await?) {
            costs.0.push(cost);
        }
    }
    Ok(costs)
}

async fn round<A: Ask>(sides: &[Side<'_, A>]) -> Result<Vec<f64>, Fault> {
    let begun = sides.iter().map(|side| side.server.cpu_seconds());
    let begun: Vec<f64> = begun.collect::<Result<_, _>>()?;
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
            let before = side.server.cpu_seconds()?;
            side.ask(side.calls_in_turn()).await?;
            asked[at] += side.server.cpu_seconds()? - before;
        }
    }
    let mut costs = Vec::with_capacity(sides.len());
    for (at, side) in sides.iter().enumerate() {
        let of_server = sides.iter().filter(|it| it.server.id() == side.server.id());
        let seconds = match of_server.count() {
            1 => side.server.cpu_seconds()? - begun[at],
            _ => asked[at],
        };
        costs.push(seconds / (side.calls_in_turn() * TURNS) as f64 * 1e6);
    }
    Ok(costs)
}

//! Values that come to be while conditions are evaluated, such as the result of `toDate()`.
//!
//! Everything else that a condition sees is borrowed from the store, the request or the policy. These few
//! have no owner there, so they are put here and borrowed as well, for as long as the evaluation lasts.

use std::cell::{Cell, OnceCell};

use crate::cedar::Value;

/// Room for as many values at first; each further block has twice the room.
const FIRST: usize = 8;

/// Owns values for the time of one evaluation.
#[derive(Debug, Default)]
pub(crate) struct Scratch(OnceCell<Box<Block>>);

#[derive(Debug)]
struct Block {
    values: Box<[OnceCell<Value>]>,
    used: Cell<usize>,
    next: Scratch,
}

impl Scratch {
    /// Keeps a value.
    pub(crate) fn keep(&self, value: Value) -> &Value {
        let mut block = self.0.get_or_init(|| Block::new(FIRST));
        while block.used.get() == block.values.len() {
            let room = block.values.len() * 2;
            block = block.next.0.get_or_init(|| Block::new(room));
        }
        let index = block.used.get();
        block.used.set(index + 1);
        block.values[index].get_or_init(|| value)
    }
}

impl Block {
    fn new(room: usize) -> Box<Self> {
        Box::new(Self {
            values: (0..room).map(|_| OnceCell::new()).collect(),
            used: Cell::new(0),
            next: Scratch::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_as_it_is() {
        let scratch = Scratch::default();
        let kept: Vec<&Value> = (0..100_i64)
            .map(|number| scratch.keep(Value::new(number, None)))
            .collect();
        for (number, value) in (0..100_i64).zip(kept) {
            assert_eq!(*value, Value::new(number, None));
        }
    }
}

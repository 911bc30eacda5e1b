//! A list with several owners.

use std::ops::Deref;
use std::sync::Arc;

/// A list that is never copied. An empty one, as most are, owns nothing: all empty `Arc<[T]>` count on one counter, which every
/// call would write.
#[derive(Debug)]
pub struct SharedList<T>(Option<Arc<[T]>>);

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Clone for SharedList<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for SharedList<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl<T> From<Vec<T>> for SharedList<T> {
    fn from(list: Vec<T>) -> Self {
        Self((!list.is_empty()).then(|| list.into()))
    }
}

impl<T, const N: usize> From<[T; N]> for SharedList<T> {
    fn from(list: [T; N]) -> Self {
        Self::from(Vec::from(list))
    }
}

impl<T> FromIterator<T> for SharedList<T> {
    /// A list of one, as most are that are not empty, is made in one piece.
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items = items.into_iter();
        Self(items.next().map(|first| match items.next() {
            None => Arc::new([first]) as Arc<[T]>,
            Some(second) => [first, second].into_iter().chain(items).collect(),
        }))
    }
}

impl<'l, T> IntoIterator for &'l SharedList<T> {
    type Item = &'l T;
    type IntoIter = std::slice::Iter<'l, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: PartialEq> PartialEq for SharedList<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for SharedList<T> {}

#[cfg(test)]
#[path = "shared_list_tests.rs"]
mod tests;

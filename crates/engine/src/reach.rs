//! How far policies look into the entities.

/// The number of dereferences that any policy makes (`principal.owner.manager` makes two).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// At most this many, as level validation (Cedar RFC 76) has shown.
    Level(u32),
    /// Not known. A request sees everything reachable from it and from the policies' literals.
    Unbounded,
}

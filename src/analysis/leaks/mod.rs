//! Which sites grow without bound.

mod tree;

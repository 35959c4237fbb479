//! For programs inside.

//! What is trapped.
#![forbid(unsafe_code)]
#![allow(dead_code)]
mod row;

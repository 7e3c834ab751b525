//! Pools of sessions: who gets which, when, and what makes one come back.

mod leases;
mod steps;

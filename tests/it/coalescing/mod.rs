//! Many calls of one process at once: what they travel in, and that it changes nothing else.

mod contention;
mod giving_up;
mod journeys;

//! Agents on both sides of simulated routers, in simulated time and seeded.

mod connect;
mod failover;
mod hostile;
mod lite;
mod network;
mod restart;
mod world;

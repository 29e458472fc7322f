//! A network link in simulated time: rate, queue, delay, jitter, reordering, loss
//! and schedules of them, from a seed. No clock, no socket.

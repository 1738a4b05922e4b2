//! Services that do not leak, however much of it that they do looks like it.

pub mod batches;
pub mod bounded_channel;
pub mod connection_pool;
pub mod fragmentation;
pub mod log_ring;
pub mod lru_cache;
pub mod object_pool;
pub mod rebuilt_index;
pub mod spike;
pub mod tides;
pub mod ttl_cache;
pub mod warm_start;

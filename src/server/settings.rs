use std::time::Duration;

/// What one client may ask of the server, and all of them together. Whatever goes beyond is refused
/// with a 4xx, or a 503 that says when to come again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Most bytes of a request's head: its first line and its headers. At least 8,192. Default: 16 KiB.
    pub header_bytes: usize,
    /// Most bytes of the path in a request's first line. Default: 8 KiB.
    pub path_bytes: usize,
    /// Most bytes of a request's body. Default: 64 KiB.
    pub body_bytes: usize,
    /// Most mutexes in one request. Default: 100.
    pub batch: usize,
    /// Most holds or waiters in one answer. Default: 1,000.
    pub page: u32,
    /// Longest time that a request waits in line; whoever asks for more waits so long. Default: 60 s.
    pub wait: Duration,
    /// Longest time to live that may be asked for. Default: 100 years, the most a timeout can be.
    pub ttl: Duration,
    /// Most requests at work at once, those that wait in line not counted. Default: 256.
    pub at_work: usize,
    /// Most requests that wait in line at once. Default: 2,000.
    pub waiting: usize,
    /// Most people who look at the live page at once. Default: 100.
    pub viewers: usize,
    /// Most connections at once, up to 65,535; more are not accepted until one is closed. Default: 4,096.
    pub connections: usize,
    /// How long a client may take to send a request's head; also how long a connection may be idle.
    /// Default: 15 s.
    pub header_time: Duration,
    /// How long a client may take to send a request's body. Default: 15 s.
    pub body_time: Duration,
    /// How long a client may take for TLS's handshake. Default: 10 s.
    pub handshake_time: Duration,
    /// How long a client may leave an answer unread. Default: 30 s.
    pub unread_time: Duration,
    /// How long a server that stops waits for the requests at work. Default: 10 s.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 16 * 1024,
            path_bytes: 8 * 1024,
            body_bytes: 64 * 1024,
            batch: 100,
            page: 1000,
            wait: Duration::from_mins(1),
            ttl: Duration::from_secs(3_153_600_000),
            at_work: 256,
            waiting: 2000,
            viewers: 100,
            connections: 4096,
            header_time: Duration::from_secs(15),
            body_time: Duration::from_secs(15),
            handshake_time: Duration::from_secs(10),
            unread_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(10),
        }
    }
}

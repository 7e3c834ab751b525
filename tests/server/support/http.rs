use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long an answer may take before the test is considered hung. Not a measure of anything.
const HUNG: Duration = Duration::from_secs(300);

/// A connection to the server that sends exactly what it is told.
pub(crate) struct Client {
    address: SocketAddr,
    stream: TcpStream,
    /// The last request was HEAD, whose answer has a length and no body.
    is_head: bool,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a header, if there is one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The last part of a problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let json = self.json();
        assert_eq!(json["status"], self.status, "{self:?}");
        let number = json["instance"].as_str().unwrap();
        let number = number.strip_prefix("urn:uuid:");
        assert_eq!(number, self.header("x-request-id"), "{self:?}");
        for text in ["title", "detail"] {
            assert!(!json[text].as_str().unwrap().is_empty(), "{self:?}");
        }
        let name = json["type"].as_str().unwrap();
        name.strip_prefix("urn:pgmutex:problem:")
            .unwrap()
            .to_owned()
    }
}

impl Client {
    pub(crate) async fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self {
            address,
            stream,
            is_head: false,
        }
    }

    /// Sends bytes, and waits for nothing. The other end may have closed the connection.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends bytes, and says whether the other end was still there to take them.
    pub(crate) async fn has_sent(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn say_no_more(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.ask("GET", target, &[], "").await
    }

    pub(crate) async fn post(&mut self, target: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.ask("POST", target, &headers, &body.to_string()).await
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.begin(method, target, headers, body).await;
        let answer = self.answer().await;
        answer.unwrap_or_else(|| panic!("no answer to {method} {target}"))
    }

    /// Sends a request, and waits for nothing.
    pub(crate) async fn begin(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) {
        self.is_head = method == "HEAD";
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            text.push_str(&format!("host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str(&format!("\r\n{body}"));
        self.send(text.as_bytes()).await;
    }

    /// The next answer; `None` if the connection is closed instead.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        timeout(HUNG, self.next_answer())
            .await
            .expect("there is no answer")
    }

    async fn next_answer(&mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        let head_end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if self.stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
        let mut answer = Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            body: String::new(),
            head,
        };
        let length: usize = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let is_bodiless = self.is_head;
        let mut body = bytes.split_off(head_end + 4);
        while !is_bodiless && body.len() < length {
            if self.stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        answer.body = String::from_utf8(body).unwrap();
        Some(answer)
    }
}

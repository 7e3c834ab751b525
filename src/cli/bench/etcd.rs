//! A lock as etcd's leases are made for: a key that is created only if nobody has it, and that lives as
//! long as the lease it is bound to.
//!
//! Through the JSON gateway that every etcd serves beside gRPC
//! (<https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/>): it costs the server a little more for each
//! request, and this program a whole gRPC stack less.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::BodyExt as _;
use hyper::{Method, Request, Uri, header::CONTENT_TYPE};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

/// After so long a lease ends by itself, in seconds: soon, should nobody be left to revoke it.
const ENDS_AFTER: u32 = 10;

/// A connection to etcd, and what it holds there.
#[derive(Debug)]
pub(super) struct Etcd {
    /// Keeps the connection open between requests; used by one task, it opens no second one.
    client: Client<HttpConnector, String>,
    address: String,
    /// The keys, and the leases that they are bound to.
    mine: Vec<(String, String)>,
}

impl Etcd {
    /// Connects: `http://host:2379`.
    pub(super) async fn connect(url: &str) -> Result<Self, String> {
        let address = url.trim_end_matches('/');
        let uri: Option<Uri> = address.parse().ok();
        let is_plain = uri.is_some_and(|uri| {
            let has_user = uri
                .authority()
                .is_none_or(|place| place.as_str().contains('@'));
            uri.scheme_str() == Some("http")
                && uri.path() == "/"
                && uri.query().is_none()
                && !has_user
        });
        if !is_plain {
            // It may have a password, which is not to be shown.
            return Err("the URL of etcd is not one: expected http://host:port".to_owned());
        }
        let mut connector = HttpConnector::new();
        // A request is one small packet: nothing is to be gathered with it.
        connector.set_nodelay(true);
        let mut etcd = Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            address: address.to_owned(),
            mine: Vec::new(),
        };
        etcd.version().await?;
        Ok(etcd)
    }

    /// Captures a key, or says that another has it.
    pub(super) async fn capture(&mut self, name: &str) -> Result<bool, String> {
        let granted = self
            .ask("lease/grant", &json!({ "TTL": ENDS_AFTER }))
            .await?;
        // Numbers of 64 bits travel as text.
        let Some(lease) = granted["ID"].as_str() else {
            return Err(format!("etcd granted no lease: {granted}"));
        };
        let key = BASE64_STANDARD.encode(name);
        let create = json!({
            "compare": [{ "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0" }],
            "success": [{ "request_put": { "key": key, "lease": lease } }],
        });
        let created = self.ask("kv/txn", &create).await?;
        // What is false is left out.
        let captured = created["succeeded"].as_bool().unwrap_or(false);
        match captured {
            true => self.mine.push((name.to_owned(), lease.to_owned())),
            false => self.revoke(lease).await?,
        }
        Ok(captured)
    }

    /// Ends the lease of a key that this connection has captured, and the key with it.
    pub(super) async fn release(&mut self, name: &str) -> Result<(), String> {
        let place = self.mine.iter().position(|(key, _)| key == name);
        let Some(place) = place else {
            return Err(format!("etcd: the key {name} was not this connection's"));
        };
        let (_, lease) = self.mine.swap_remove(place);
        self.revoke(&lease).await
    }

    /// Which server it is. It acknowledges nothing that is not on the disk, unless it was started so.
    pub(super) async fn described(&mut self) -> Result<String, String> {
        let version = self.version().await?;
        let members = self.ask("cluster/member/list", &json!({})).await?;
        let members = members["members"].as_array().map_or(0, Vec::len);
        let members = match members {
            1 => "1 member".to_owned(),
            count => format!("{count} members"),
        };
        Ok(format!("etcd {version}, {members}, JSON gateway"))
    }

    async fn revoke(&mut self, lease: &str) -> Result<(), String> {
        self.ask("lease/revoke", &json!({ "ID": lease })).await?;
        Ok(())
    }

    async fn version(&mut self) -> Result<String, String> {
        let answer = self.send(Method::GET, "version", String::new()).await?;
        match answer["etcdserver"].as_str() {
            Some(version) => Ok(version.to_owned()),
            None => Err(format!("{} is no etcd: it says {answer}", self.address)),
        }
    }

    async fn ask(&mut self, what: &str, request: &Value) -> Result<Value, String> {
        self.send(Method::POST, &format!("v3/{what}"), request.to_string())
            .await
    }

    async fn send(&mut self, method: Method, path: &str, body: String) -> Result<Value, String> {
        let failed = |error: &dyn std::fmt::Display| format!("etcd at {}: {error}", self.address);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.address))
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| failed(&error))?;
        let answer = self.client.request(request).await.map_err(|error| {
            // The error itself says only that there was one.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            failed(&cause.unwrap_or_else(|| error.to_string()))
        })?;
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| failed(&error))?;
        let body = body.to_bytes();
        match serde_json::from_slice(&body) {
            Ok(value) if status.is_success() => Ok(value),
            _ => Err(failed(&format!(
                "{path} was answered with {status}: {}",
                String::from_utf8_lossy(&body)
            ))),
        }
    }
}

#[cfg(all(test, feature = "test-peers"))]
mod against_a_server {
    use serde_json::{Value, json};

    use super::Etcd;
    use crate::cli::bench::peer_servers::PeerServer;

    /// How many leases there are, and how many keys.
    async fn kept(etcd: &mut Etcd) -> (usize, usize) {
        let leases = etcd.ask("lease/leases", &json!({})).await.unwrap();
        // From the smallest key (one byte of nothing) to the end.
        let all = json!({ "key": "AA==", "range_end": "AA==" });
        let keys = etcd.ask("kv/range", &all).await.unwrap();
        let length = |list: &Value| list.as_array().map_or(0, Vec::len);
        (length(&leases["leases"]), length(&keys["kvs"]))
    }

    #[tokio::test]
    async fn a_key_is_one_connections_until_it_is_released() {
        let server = PeerServer::etcd();
        let mut first = Etcd::connect(&server.url).await.unwrap();
        let mut second = Etcd::connect(&server.url).await.unwrap();

        assert_eq!(first.capture("a").await, Ok(true));
        assert_eq!(second.capture("a").await, Ok(false));
        assert_eq!(
            first.capture("a").await,
            Ok(false),
            "it is no lock to enter twice"
        );
        assert_eq!(second.capture("b").await, Ok(true));
        assert_eq!(
            kept(&mut first).await,
            (2, 2),
            "who was refused keeps no lease"
        );

        first.release("a").await.unwrap();
        assert_eq!(second.capture("a").await, Ok(true));
        second.release("a").await.unwrap();
        second.release("b").await.unwrap();
        assert_eq!(kept(&mut first).await, (0, 0));
    }

    #[tokio::test]
    async fn anothers_key_is_not_deleted() {
        let server = PeerServer::etcd();
        let mut first = Etcd::connect(&server.url).await.unwrap();
        let mut second = Etcd::connect(&server.url).await.unwrap();
        assert_eq!(first.capture("a").await, Ok(true));
        let refused = second.release("a").await.unwrap_err();
        assert!(refused.contains("the key a"), "{refused}");
        assert_eq!(kept(&mut second).await, (1, 1));

        // The first one's time is up, and the second has captured it.
        let lease = first.mine[0].1.clone();
        second.revoke(&lease).await.unwrap();
        assert_eq!(second.capture("a").await, Ok(true));
        let refused = first.release("a").await.unwrap_err();
        assert!(refused.contains("lease not found"), "{refused}");
        assert_eq!(kept(&mut second).await, (1, 1));
    }

    #[tokio::test]
    async fn it_says_what_it_is() {
        let server = PeerServer::etcd();
        let mut etcd = Etcd::connect(&server.url).await.unwrap();
        let described = etcd.described().await.unwrap();
        assert!(described.starts_with("etcd 3."), "{described}");
        assert!(
            described.ends_with(", 1 member, JSON gateway"),
            "{described}"
        );
    }

    #[tokio::test]
    async fn where_no_etcd_answers_is_an_error() {
        for (url, complaint) in [
            ("http://127.0.0.1:1", "etcd at http://127.0.0.1:1: "),
            ("https://etcd.example", "expected http://host:port"),
            ("http://etcd.example/v3", "expected http://host:port"),
            ("http://me:secret@etcd.example", "expected http://host:port"),
            (
                "http://me:se cret@etcd.example",
                "expected http://host:port",
            ),
            ("", "expected http://host:port"),
        ] {
            let refused = Etcd::connect(url).await.unwrap_err();
            assert!(refused.contains(complaint), "{refused}");
            assert!(!refused.contains("cret"), "{refused}");
        }
    }
}

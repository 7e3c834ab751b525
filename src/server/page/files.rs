use axum::{
    extract::{NestedPath, rejection::NestedPathRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

/// A file of the page's.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct File {
    pub(in crate::server) path: &'static str,
    media_type: &'static str,
    text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What the page loads. It loads nothing else, from nowhere else.
pub(in crate::server) const FILES: [File; 9] = [
    File {
        path: "/page/page.css",
        media_type: "text/css; charset=utf-8",
        text: include_str!("page.css"),
    },
    File {
        path: "/page/icon.svg",
        media_type: "image/svg+xml",
        text: include_str!("icon.svg"),
    },
    File {
        path: "/page/page.js",
        media_type: SCRIPT,
        text: include_str!("page.js"),
    },
    File {
        path: "/page/stream.js",
        media_type: SCRIPT,
        text: include_str!("stream.js"),
    },
    File {
        path: "/page/holdings.js",
        media_type: SCRIPT,
        text: include_str!("holdings.js"),
    },
    File {
        path: "/page/list.js",
        media_type: SCRIPT,
        text: include_str!("list.js"),
    },
    File {
        path: "/page/pools.js",
        media_type: SCRIPT,
        text: include_str!("pools.js"),
    },
    File {
        path: "/page/force.js",
        media_type: SCRIPT,
        text: include_str!("force.js"),
    },
    File {
        path: "/page/words.js",
        media_type: SCRIPT,
        text: include_str!("words.js"),
    },
];

/// Where the page's files are found, in the page.
const BASE: &str = "{base}";

/// The page. It finds its files also where an application has mounted the router below a path.
pub(in crate::server) async fn page(nested: Result<NestedPath, NestedPathRejection>) -> Response {
    let base = nested.as_ref().map_or("", NestedPath::as_str);
    let base = base.trim_end_matches('/');
    let text = include_str!("page.html").replace(BASE, base);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// One of the files.
pub(in crate::server) async fn file(file: File) -> Response {
    let kind = HeaderValue::from_static(file.media_type);
    ([(header::CONTENT_TYPE, kind)], file.text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::{Body, to_bytes},
        http::{Request, StatusCode},
    };
    use tower::ServiceExt;

    use crate::{mutexes::Mutexes, server, session::SessionBackend};

    async fn get(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_page_finds_its_files_wherever_it_is_mounted() {
        let own = server::router(Mutexes::builder().backend(SessionBackend::new()));
        let nested = Router::new().nest("/tools/locks", own.clone());
        for (router, page, below) in [(own, "/", ""), (nested, "/tools/locks", "/tools/locks")] {
            let (status, text) = get(&router, page).await;
            assert_eq!(status, StatusCode::OK);
            let mut files = 0;
            for (before, _) in text.match_indices("=\"/") {
                let path = text[before + 2..].split('"').next().unwrap();
                assert!(path.starts_with(&format!("{below}/page/")), "{path}");
                assert_eq!(get(&router, path).await.0, StatusCode::OK, "{path}");
                files += 1;
            }
            assert_eq!(files, 3);
            assert!(!text.contains("{base}") && !text.contains("http"), "{text}");
        }
    }
}

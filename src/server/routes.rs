//! Every route: its path, its method and the role that it needs.

use axum::{
    Router,
    handler::Handler,
    http::{Method, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};

use super::{
    admission, answer,
    app::SharedApp,
    authorize, foreign_page, health, locker, openapi, page,
    principal::Role,
    problem::{METHOD, NOT_FOUND, Problem},
    v1,
};

/// The routes under which a path of any segments can follow.
const REST: &str = "{*rest}";

pub(super) struct Routes {
    app: SharedApp,
    router: Router<SharedApp>,
    /// What was routed, for the tests of the description.
    listed: Vec<(Method, String)>,
}

impl Routes {
    pub(super) fn all(app: &SharedApp) -> Self {
        use Role::{Admin, Application, Reader};
        use v1::pools::{change, lease, look, take};

        let mut routes = Self {
            app: app.clone(),
            router: Router::new(),
            listed: Vec::new(),
        };
        routes.page("/", page::page);
        for file in page::FILES {
            routes.page(file.path, move || page::file(file));
        }
        routes.open("/healthz", health::healthz);
        routes.open("/readyz", health::readyz);
        routes.open("/openapi.json", openapi::openapi);
        routes.get("/metrics", Reader, health::metrics);
        routes.call("/canhaz", Application, locker::canhaz);
        routes.call("/nowant", Application, locker::nowant);
        routes.call("/dohaz", Reader, locker::dohaz);
        routes.post("/v1/capture", Application, v1::capture::capture);
        routes.post("/v1/capture-all", Application, v1::capture_all::capture_all);
        routes.post("/v1/refresh", Application, v1::refresh::refresh);
        routes.post("/v1/release", Application, v1::release::release);
        routes.get("/v1/request", Reader, v1::request::request);
        routes.get("/v1/list", Reader, v1::list::list);
        routes.get("/v1/waiters", Reader, v1::waiters::waiters);
        routes.get("/v1/events", Reader, page::events);
        routes.post("/v1/force-release", Admin, v1::force_release::force_release);
        routes.post("/v1/pools/get-session", Application, take::get_session);
        routes.post("/v1/pools/checkout", Application, lease::checkout);
        routes.post("/v1/pools/refresh", Application, lease::refresh);
        routes.post("/v1/pools/give-back", Application, lease::give_back);
        routes.post("/v1/pools/success", Application, change::success);
        routes.post("/v1/pools/lock", Application, change::lock);
        routes.post("/v1/pools/block", Application, change::block);
        routes.post("/v1/pools/inactive", Application, change::inactive);
        routes.post("/v1/pools/activate", Application, change::activate);
        routes.post("/v1/pools/add", Application, change::add);
        routes.post("/v1/pools/update", Application, change::update);
        routes.post("/v1/pools/delete", Application, change::delete);
        routes.get("/v1/pools/statistics", Reader, look::statistics);
        routes.get("/v1/pools/sessions", Application, look::sessions);
        routes
    }

    /// With what every request meets, outermost last.
    pub(super) fn into_router(self) -> Router {
        let app = self.app;
        self.router
            .fallback(nothing_here)
            .method_not_allowed_fallback(not_so)
            .layer(middleware::from_fn_with_state(
                app.clone(),
                admission::bound,
            ))
            .layer(middleware::from_fn_with_state(
                app.clone(),
                foreign_page::refuse,
            ))
            .layer(middleware::from_fn(answer::finish))
            .with_state(app)
    }

    #[cfg(test)]
    pub(super) fn listed(&self) -> &[(Method, String)] {
        &self.listed
    }

    /// For everyone.
    fn open<T: 'static>(&mut self, path: &str, handler: impl Handler<T, SharedApp>) {
        self.add(path, path, &[Method::GET], on(MethodFilter::GET, handler));
    }

    /// For people, and so not among what is described for programs.
    fn page<T: 'static>(&mut self, path: &str, handler: impl Handler<T, SharedApp>) {
        self.add(path, path, &[], on(MethodFilter::GET, handler));
    }

    fn get<T: 'static>(&mut self, path: &str, role: Role, handler: impl Handler<T, SharedApp>) {
        let route = self.guarded(on(MethodFilter::GET, handler), role);
        self.add(path, path, &[Method::GET], route);
    }

    fn post<T: 'static>(&mut self, path: &str, role: Role, handler: impl Handler<T, SharedApp>) {
        let route = self.guarded(on(MethodFilter::POST, handler), role);
        self.add(path, path, &[Method::POST], route);
    }

    /// One of Locker's calls, about the root and about a path. HEAD would be answered as GET is, and
    /// capture something for nobody.
    fn call<T: 'static>(&mut self, path: &str, role: Role, handler: impl Handler<T, SharedApp>) {
        let methods = [Method::GET, Method::POST];
        for (rest, described) in [("", ""), ("/", ""), (REST, "/{path}")] {
            let routed = match rest {
                REST => format!("{path}/{REST}"),
                rest => format!("{path}{rest}"),
            };
            let filter = MethodFilter::GET.or(MethodFilter::POST);
            let route = on(filter, handler.clone()).head(only_get_and_post);
            let route = route.fallback(only_get_and_post);
            let route = self.guarded(route, role);
            self.add(&routed, &format!("{path}{described}"), &methods, route);
        }
    }

    fn guarded(&self, route: MethodRouter<SharedApp>, role: Role) -> MethodRouter<SharedApp> {
        let state = (self.app.clone(), role);
        route.route_layer(middleware::from_fn_with_state(state, authorize::require))
    }

    fn add(
        &mut self,
        path: &str,
        described: &str,
        methods: &[Method],
        route: MethodRouter<SharedApp>,
    ) {
        let router = std::mem::take(&mut self.router);
        self.router = router.route(path, route);
        for method in methods {
            let entry = (method.clone(), described.to_owned());
            if !self.listed.contains(&entry) {
                self.listed.push(entry);
            }
        }
    }
}

async fn nothing_here() -> Response {
    Problem::new(NOT_FOUND, "GET /openapi.json describes what there is").into_response()
}

async fn not_so() -> Response {
    Problem::new(METHOD, "GET /openapi.json describes what there is").into_response()
}

async fn only_get_and_post() -> Response {
    let allowed = [(header::ALLOW, "GET, POST")];
    (allowed, Problem::new(METHOD, "call it by GET or by POST")).into_response()
}

//! The route table of the operator's listener: each resource adds its routes, `mod.rs` installs them all. That it can be
//! listed is what keeps `openapi` true.

use super::resource::{self, KnownMethods, Takes};
use actix_web::{
    FromRequest, Handler, Resource, Responder, Route,
    dev::{ResourceDef, ServiceRequest},
    guard,
    http::Method,
    middleware::{Next, from_fn},
    web,
};

/// The most bytes of a request's body, where a path does not say otherwise.
const MAX_BODY: usize = 64 * 1024;

/// The routes. See the module.
#[derive(Default)]
pub(super) struct RouteTable(Vec<RoutedPath>);

/// A path with its routes.
struct RoutedPath {
    path: &'static str,
    takes: Takes,
    routes: Vec<(Method, Route)>,
}

impl RouteTable {
    /// Adds a route that is asked by GET, or by HEAD for the head alone.
    pub(super) fn get<F, Args>(&mut self, path: &'static str, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(Method::GET, path, handler)
    }

    /// Adds a route that is asked by POST.
    pub(super) fn post<F, Args>(&mut self, path: &'static str, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.add(Method::POST, path, handler)
    }

    /// Adds a route that is asked by this method.
    pub(super) fn add<F, Args>(&mut self, method: Method, path: &'static str, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let route = match method {
            Method::GET => web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler),
            ref method => web::method(method.clone()).to(handler),
        };
        self.entry(path).routes.push((method, route));
        self
    }

    /// Says how long a request's body may be on this path.
    pub(super) fn take_up_to(&mut self, bytes: usize, path: &'static str) -> &mut Self {
        self.entry(path).takes.body = bytes;
        self
    }

    /// Says what the writes on this path may be asked in the query; nothing, where nothing is said.
    pub(super) fn heed(&mut self, parameters: &'static [&'static str], path: &'static str) -> &mut Self {
        self.entry(path).takes.parameters = parameters;
        self
    }

    fn entry(&mut self, path: &'static str) -> &mut RoutedPath {
        let place = self.0.iter().position(|entry| entry.path == path).unwrap_or_else(|| {
            self.0.push(RoutedPath {
                path,
                takes: Takes { body: MAX_BODY, parameters: &[] },
                routes: Vec::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[place]
    }

    /// Lists the routes by method and path.
    #[cfg(test)]
    pub(super) fn listed(&self) -> Vec<(Method, &'static str)> {
        let of = |entry: &RoutedPath| -> Vec<_> {
            entry.routes.iter().map(|(method, _)| (method.clone(), entry.path)).collect()
        };
        self.0.iter().flat_map(of).collect()
    }

    /// Lists what the writes of each path may be asked in the query.
    #[cfg(test)]
    pub(super) fn heeded(&self) -> Vec<(&'static str, &'static [&'static str])> {
        self.0.iter().map(|entry| (entry.path, entry.takes.parameters)).collect()
    }

    /// Gives them to a server, in their order: where two paths fit a request, the first that knows its method answers.
    pub(super) fn install(self, config: &mut web::ServiceConfig) {
        let mut known = KnownMethods::default();
        for RoutedPath { path, takes, routes } in self.0 {
            let mut methods: Vec<Method> = routes.iter().map(|(method, _)| method.clone()).collect();
            if methods.contains(&Method::GET) {
                methods.push(Method::HEAD);
            }
            known.0.push((ResourceDef::new(path), methods.clone()));
            let resource = web::resource(path)
                .guard(guard::fn_guard(move |it| methods.contains(&it.head().method)))
                .app_data(web::PayloadConfig::new(takes.body));
            let add = |resource: Resource, (_, route)| resource.route(route);
            let hold = move |request: ServiceRequest, next: Next<_>| resource::hold(takes, request, next);
            config.service(routes.into_iter().fold(resource, add).wrap(from_fn(hold)));
        }
        config.app_data(web::Data::new(known));
    }
}

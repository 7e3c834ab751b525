use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, wd::TimeoutConfiguration};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};

/// After so long, what was waited for will not come.
const HANG: Duration = Duration::from_secs(300);

const INSTALL: &str = "install Chromium and its driver: apt-get install chromium chromium-driver";

/// What each script knows.
const WORDS: &str = r#"
    const all = (selector) => [...document.querySelectorAll(selector)];
    const text = (selector) => document.querySelector(selector)?.innerText ?? '';
    const lists = () => text('#lists');
    const state = () => document.getElementById('state').dataset.state;
"#;

/// How the browser looks at pages.
#[derive(Clone, Copy, Default)]
pub(crate) struct Look {
    pub(crate) is_dark: bool,
    pub(crate) is_phone: bool,
}

/// A browser that shows a page. It ends with this.
pub(crate) struct Browser {
    client: Client,
    _driver: Driver,
}

impl Browser {
    /// Shows the page at this address.
    pub(crate) async fn at(url: &str) -> Self {
        Self::looking(Look::default(), url).await
    }

    pub(crate) async fn looking(look: Look, url: &str) -> Self {
        let driver = Driver::start();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(look))
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .unwrap_or_else(|error| panic!("no browser: {error}; {INSTALL}"));

        let timeouts = TimeoutConfiguration::new(Some(HANG), Some(HANG), None);
        client.update_timeouts(timeouts).await.unwrap();
        client.goto(url).await.unwrap();
        Self {
            client,
            _driver: driver,
        }
    }

    /// What an expression is in the page.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let script = format!("{WORDS} return ({expression});");
        self.client.execute(&script, Vec::new()).await.unwrap()
    }

    /// The texts of what a selector selects.
    pub(crate) async fn texts(&self, selector: &str) -> Vec<String> {
        let selector = json!(selector);
        let texts = self
            .value(&format!("all({selector}).map((each) => each.innerText)"))
            .await;
        serde_json::from_value(texts).unwrap()
    }

    /// Returns when an expression has become true in the page.
    #[track_caller]
    pub(crate) fn until(&self, expression: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let script = format!(
            "{WORDS} const [done] = arguments;
            const look = () => ({expression}) ? done(true) : setTimeout(look, 20);
            look();"
        );
        async move {
            if let Err(error) = self.client.execute_async(&script, Vec::new()).await {
                let page = self.texts("body").await;
                panic!(
                    "{caller}: it never became true: {expression}\n{error}\nthe page:\n{page:#?}"
                );
            }
        }
    }

    /// Clicks on what a selector selects first.
    pub(crate) async fn click(&self, selector: &str) {
        let found = self.client.find(fantoccini::Locator::Css(selector)).await;
        found.unwrap().click().await.unwrap();
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn press(&self, keys: &str) {
        let focused = self.client.active_element().await.unwrap();
        focused.send_keys(keys).await.unwrap();
    }

    /// Presses a key again and again until an expression is true.
    #[track_caller]
    pub(crate) fn press_until(&self, key: char, expression: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            for _ in 0..50 {
                if self.value(expression).await == true {
                    return;
                }
                self.press(&key.to_string()).await;
            }
            panic!("{caller}: no number of keys makes it true: {expression}");
        }
    }

    /// Looks at the page once more.
    pub(crate) async fn reload(&self) {
        self.client.refresh().await.unwrap();
    }

    /// Keeps a picture of the page, if somebody wants to look: PGMUTEX_SCREENSHOTS names the folder.
    pub(crate) async fn screenshot(&self, name: &str) {
        let Ok(folder) = env::var("PGMUTEX_SCREENSHOTS") else {
            return;
        };
        let picture = self.client.screenshot().await.unwrap();
        fs::write(PathBuf::from(folder).join(format!("{name}.png")), picture).unwrap();
    }
}

fn capabilities(look: Look) -> Map<String, Value> {
    let mut arguments = vec![
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--force-prefers-reduced-motion",
        "--window-size=1200,800",
        // It ends when its driver does, however that ends.
        "--remote-debugging-pipe",
    ];
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        arguments.push("--no-sandbox");
    }
    arguments.push(match look.is_dark {
        true => "--blink-settings=preferredColorScheme=0",
        false => "--blink-settings=preferredColorScheme=1",
    });
    let mut options = json!({ "args": arguments });
    if look.is_phone {
        options["mobileEmulation"] =
            json!({ "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 2.0 } });
    }
    let capabilities = json!({ "browserName": "chrome", "goog:chromeOptions": options });
    serde_json::from_value(capabilities).unwrap()
}

/// A driver of a browser's own, with a home that goes with it.
struct Driver {
    process: Child,

    home: PathBuf,
    port: u16,
}

impl Driver {
    fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pgmutex-browser-{}-{number}", std::process::id());
        let home = env::temp_dir().join(name);
        // An earlier process of the same number may have left its own.
        let _ = fs::remove_dir_all(&home);
        fs::create_dir(&home).unwrap();
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver cannot be started: {error}; {INSTALL}"));
        let output = BufReader::new(process.stdout.take().unwrap());
        let port = output
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
            .unwrap_or_else(|| panic!("chromedriver does not say its port; {INSTALL}"));
        Self {
            process,

            home,
            port,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // With all that it has started, so that nothing writes any more.
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-9", "--", &group]).status();
        let _ = self.process.wait();
        let until = Instant::now() + HANG;
        while self.home.exists() && Instant::now() < until {
            let _ = fs::remove_dir_all(&self.home);
            std::thread::yield_now();
        }
    }
}

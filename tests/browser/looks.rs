//! How the page looks: on a phone, in the dark, with text that can be read.

use std::time::Duration;

use serde_json::json;

use crate::support::{Browser, Look, Serving, mutex_id, owner};

/// Something of everything, with names that are as long as they may be.
async fn busy() -> Serving {
    let serving = Serving::start().await;
    let mutexes = &serving.mutexes;
    for (id, name) in [
        ("invoice-2026-0117", "Ada"),
        ("42", "Bea"),
        (&"x".repeat(1200), "Carl"),
    ] {
        let who = owner(name).with_login(name.to_lowercase()).unwrap();
        let who = who
            .with_host(format!("host-{}.example", "a".repeat(60)))
            .unwrap();
        let capture = mutexes.capture(mutex_id(id)).owner(who);
        capture
            .timeout(Duration::from_secs(300))
            .status_data("req-7")
            .await
            .unwrap();
    }
    let tree = mutexes.tree("lab");
    for path in [
        vec!["rack1", "board3", "port1"],
        vec!["rack1", "board12"],
        vec!["rack2"],
        vec!["a"; 40],
    ] {
        let path = tree.path(path).unwrap();
        path.capture().owner(owner("Dora")).await.unwrap();
    }
    for collection in ["accounts".to_owned(), "p".repeat(400)] {
        let pool: pgmutex::SessionPool = pgmutex::SessionPool::new(mutexes, collection);
        pool.add(&json!({})).await.unwrap();
    }
    serving
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_shows_all_of_its_width() {
    let serving = busy().await;
    for is_dark in [false, true] {
        let look = Look {
            is_dark,
            is_phone: true,
        };
        let page = Browser::looking(look, &serving.url()).await;
        page.until("all('tr.hold').length === 7 && all('#pools tbody tr').length === 2")
            .await;
        page.screenshot(&format!("phone-{}", if is_dark { "dark" } else { "light" }))
            .await;
        assert_eq!(
            page.value("[innerWidth, document.documentElement.scrollWidth]")
                .await,
            json!([390, 390])
        );
        // Nor is anything cut off at the side.
        let outside = "all('#lists *, #pools *, header *').filter((each) => each.getBoundingClientRect().right > 390.5).map((each) => each.outerHTML)";
        assert_eq!(page.value(outside).await, json!([]));
        page.click("tr.hold button").await;
        page.until("document.getElementById('force').open").await;
        page.screenshot(&format!(
            "phone-dialog-{}",
            if is_dark { "dark" } else { "light" }
        ))
        .await;
        assert_eq!(
            page.value("document.documentElement.scrollWidth").await,
            390
        );
    }
}

/// The contrast of the texts of everything that is shown, as WCAG counts it: those below 4.5 to 1.
const TOO_FAINT: &str = "(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgb = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const ground = (at) => {
        for (; at; at = at.parentElement) {
            const color = rgb(getComputedStyle(at).backgroundColor);
            if (color[3] === 255) return color;
        }
        return rgb(getComputedStyle(document.documentElement).colorScheme === 'dark' ? 'black' : 'white');
    };
    const hasText = (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    return all('body *').filter((each) => hasText(each) && each.checkVisibility()).map((each) => {
        const [a, b] = [luminance(rgb(getComputedStyle(each).color)), luminance(ground(each))];
        return [Math.round((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) * 100) / 100, each.outerHTML.slice(0, 120)];
    }).filter(([contrast]) => contrast < 4.5);
})()";

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_read_in_the_light_and_in_the_dark() {
    let serving = busy().await;
    let waits = serving.mutexes.lock(mutex_id("42")).owner(owner("Eve"));
    let waits = tokio::spawn(async move { waits.await.map(drop) });
    let mut grounds = Vec::new();
    for is_dark in [false, true] {
        let look = Look {
            is_dark,
            is_phone: false,
        };
        let page = Browser::looking(look, &serving.url()).await;
        page.until("all('tr.hold').length === 7 && all('#pools tbody tr').length === 2 && all('tr.waiter').length === 1")
            .await;
        let name = if is_dark { "dark" } else { "light" };
        page.screenshot(&format!("desktop-{name}")).await;
        let is_too_wide = page.value("document.documentElement.scrollWidth > innerWidth");
        assert_eq!(is_too_wide.await, false);
        assert_eq!(page.value(TOO_FAINT).await, json!([]), "{name}");
        page.click("tr.hold button").await;
        page.until("document.getElementById('force').open").await;
        page.click("#force-do").await;
        page.until("text('#force-problem') !== ''").await;
        page.screenshot(&format!("desktop-dialog-{name}")).await;
        assert_eq!(
            page.value(TOO_FAINT).await,
            json!([]),
            "{name}, with the dialog"
        );
        grounds.push(
            page.value("getComputedStyle(document.body).backgroundColor")
                .await,
        );
    }
    assert_ne!(grounds[0], grounds[1], "the dark is the light");
    waits.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_can_be_used_has_a_name() {
    let serving = busy().await;
    let page = Browser::at(&serving.url()).await;
    page.until("all('tr.hold').length === 7 && all('#pools tbody tr').length === 2")
        .await;
    let nameless = "all('button, input, textarea, table, dialog').filter((each) => {
        const by = each.getAttribute('aria-labelledby');
        const named = by && document.getElementById(by)?.textContent;
        return !(named || each.getAttribute('aria-label') || each.labels?.length || each.textContent.trim());
    }).map((each) => each.outerHTML)";
    assert_eq!(page.value(nameless).await, json!([]));
    let ids = page.value("(() => { const ids = all('[id]').map((each) => each.id); return ids.length - new Set(ids).size; })()");
    assert_eq!(ids.await, 0, "an id is there twice");
}

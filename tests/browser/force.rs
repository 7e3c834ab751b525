//! Releasing by force: with a reason, by whoever may.

use pgmutex::MutexState;

use crate::support::{Browser, Serving, mutex_id, owner};

/// A page with a hold of Ada's, and another of Bea's behind it.
async fn with_two_holds() -> (Serving, Browser) {
    let serving = Serving::start().await;
    for (id, name) in [("42", "Ada"), ("43", "Bea")] {
        let id = mutex_id(id);
        serving
            .mutexes
            .capture(&id)
            .owner(owner(name))
            .await
            .unwrap();
    }
    let page = Browser::at(&serving.url()).await;
    page.until("all('tr.hold').length === 2").await;
    (serving, page)
}

async fn is_free(serving: &Serving, id: &str) -> bool {
    let state = serving.mutexes.request(&mutex_id(id)).await.unwrap();
    matches!(state, MutexState::Free)
}

/// The holder is alive, and the page shows it.
async fn refresh(serving: &Serving, page: &Browser) {
    let ends = "document.querySelector('td.left time').dateTime";
    let before = page.value(ends).await;
    let id = mutex_id("42");
    let refresh = serving.mutexes.refresh(&id).owner(owner("Ada"));
    refresh.await.unwrap();
    page.until(&format!("{ends} !== {before}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_reason_the_hold_goes() {
    let (serving, page) = with_two_holds().await;
    page.click("tr.hold button").await;
    page.until("document.getElementById('force').open").await;
    let what = &page.texts("#force-what").await[0];
    for shown in ["42", "orders, edit", "Ada", "nobody"] {
        assert!(what.contains(shown), "{shown} is missing: {what}");
    }
    page.press("it hangs").await;
    page.click("#force-do").await;
    page.until("text('#outcome') === 'Released: 42'").await;
    page.until("all('tr.hold').length === 1").await;
    assert!(is_free(&serving, "42").await);
    assert!(!is_free(&serving, "43").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reason_it_is_refused() {
    let (serving, page) = with_two_holds().await;
    page.click("tr.hold button").await;
    page.until("document.activeElement.id === 'reason'").await;
    page.press("  ").await;
    page.click("#force-do").await;
    page.until("text('#force-problem').startsWith('Say why')")
        .await;
    assert_eq!(page.value("document.activeElement.id").await, "reason");
    assert!(!is_free(&serving, "42").await);
    // The server does not leave it to the page.
    let status = "fetch('/v1/force-release', { method: 'POST', headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ mutex: { group: 'orders', mode: 'edit', id: '42' }, reason: ' ' }) }).then((answer) => answer.status)";
    assert_eq!(page.value(status).await, 400);
    assert!(!is_free(&serving, "42").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_came_later_is_spared() {
    let (serving, page) = with_two_holds().await;
    page.click("tr.hold button").await;
    page.until("document.activeElement.id === 'reason'").await;
    let id = mutex_id("42");
    serving
        .mutexes
        .release(&id)
        .owner(owner("Ada"))
        .await
        .unwrap();
    serving
        .mutexes
        .capture(&id)
        .owner(owner("Carl"))
        .await
        .unwrap();
    page.press("it hangs").await;
    page.click("#force-do").await;
    page.until("text('#outcome').includes('nothing was released')")
        .await;
    assert!(!is_free(&serving, "42").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_is_enough() {
    const TAB: char = '\u{e004}';
    const ENTER: &str = "\u{e007}";
    const ESCAPE: &str = "\u{e00c}";
    let (serving, page) = with_two_holds().await;
    let is_on_button = "document.activeElement === document.querySelector('tr.hold button')";
    page.press_until(TAB, is_on_button).await;
    let outline = "getComputedStyle(document.activeElement).outlineStyle !== 'none'";
    assert_eq!(page.value(outline).await, true, "the focus is not seen");

    page.press(ENTER).await;
    page.until("document.activeElement.id === 'reason'").await;
    refresh(&serving, &page).await;
    page.press(ESCAPE).await;
    page.until("!document.getElementById('force').open").await;
    assert_eq!(page.value(is_on_button).await, true, "the focus is lost");
    refresh(&serving, &page).await;
    let still = "the focus is lost to a hold that goes on";
    assert_eq!(page.value(is_on_button).await, true, "{still}");
    assert!(!is_free(&serving, "42").await);

    page.press(ENTER).await;
    page.until("document.activeElement.id === 'reason'").await;
    page.press("it hangs").await;
    page.press_until(TAB, "document.activeElement.id === 'force-do'")
        .await;
    page.press(ENTER).await;
    page.until("text('#outcome') === 'Released: 42'").await;
    page.until("all('tr.hold').length === 1").await;
    assert!(is_free(&serving, "42").await);
    // Not at the beginning of the page again.
    page.until("document.activeElement.id === 'main'").await;
    page.press("/").await;
    page.until("document.activeElement.id === 'filter'").await;
}

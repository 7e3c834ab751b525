//! Where tokens are needed, the page asks for one.

use pgmutex::server::{Role, TokenList};

use crate::support::{Browser, Serving, mutex_id, owner};

/// A server that knows a reader and an admin, with their tokens.
async fn with_tokens() -> (Serving, String, String) {
    let (reader, first) = TokenList::new_token("wall", Role::Reader).unwrap();
    let (admin, second) = TokenList::new_token("operator", Role::Admin).unwrap();
    let list = TokenList::parse(&format!("{first}\n{second}\n")).unwrap();
    let serving = Serving::with(move |server| server.tokens(list.clone())).await;
    let id = mutex_id("42");
    serving
        .mutexes
        .capture(&id)
        .owner(owner("Ada"))
        .await
        .unwrap();
    (
        serving,
        reader.reveal().to_owned(),
        admin.reveal().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_shown_without_one() {
    let (serving, reader, _) = with_tokens().await;
    let page = Browser::at(&serving.url()).await;
    page.until("document.activeElement.id === 'token' && text('#token-why') === 'This server wants a token.'")
        .await;
    page.press("a-guess\u{e007}").await;
    page.until("document.activeElement.id === 'token' && text('#token-why') === 'the token is not known here.'")
        .await;
    assert_eq!(page.texts("tr.hold").await.len(), 0);

    page.press(&format!("{reader}\u{e007}")).await;
    page.until("all('tr.hold').length === 1").await;
    assert_eq!(page.texts("#who-words").await, ["wall · reader"]);
    // It is kept as long as the tab.
    page.reload().await;
    page.until("all('tr.hold').length === 1").await;
    page.click("#forget").await;
    page.until("text('#token-why') === 'This server wants a token.'")
        .await;
    assert_eq!(page.value("sessionStorage.length").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_cannot_release_by_force() {
    let (serving, reader, admin) = with_tokens().await;
    let page = Browser::at(&serving.url()).await;
    page.until("document.activeElement.id === 'token'").await;
    page.press(&format!("{reader}\u{e007}")).await;
    page.until("all('tr.hold').length === 1").await;
    assert_eq!(page.texts("tr.hold button").await.len(), 0);
    let why = "To release by force takes the role admin; yours is reader.";
    assert_eq!(page.texts("#no-force").await, [why]);
    // The server does not leave it to the page.
    let status = "fetch('/v1/force-release', { method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer ' + sessionStorage.getItem('pgmutex-token') },
        body: JSON.stringify({ mutex: { group: 'orders', mode: 'edit', id: '42' }, reason: 'it hangs' }) }).then((answer) => answer.status)";
    assert_eq!(page.value(status).await, 403);

    page.click("#forget").await;
    page.until("document.activeElement.id === 'token'").await;
    page.press(&format!("{admin}\u{e007}")).await;
    page.until("all('tr.hold button').length === 1").await;
    page.click("tr.hold button").await;
    page.until("document.activeElement.id === 'reason'").await;
    page.press("it hangs").await;
    page.click("#force-do").await;
    page.until("text('#outcome') === 'Released: 42'").await;
    page.until("all('tr.hold').length === 0").await;
}

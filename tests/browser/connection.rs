//! A page outlives the server that it looks at.

use crate::support::{Browser, Serving, mutex_id, owner};

#[tokio::test(flavor = "multi_thread")]
async fn it_connects_again_when_the_server_is_back() {
    let mut serving = Serving::start().await;
    let (first, second) = (mutex_id("42"), mutex_id("43"));
    serving
        .mutexes
        .capture(&first)
        .owner(owner("Ada"))
        .await
        .unwrap();
    let page = Browser::at(&serving.url()).await;
    page.until("state() === 'live' && all('tr.hold').length === 1")
        .await;

    serving.stop().await;
    page.until("text('#state-words').startsWith('Reconnecting…') && /^last news \\d+ s ago$/.test(text('#state-age'))")
        .await;
    // What was seen stays, as what it is: old.
    assert_eq!(page.texts("tr.hold").await.len(), 1);

    serving
        .mutexes
        .release(&first)
        .owner(owner("Ada"))
        .await
        .unwrap();
    serving
        .mutexes
        .capture(&second)
        .owner(owner("Bea"))
        .await
        .unwrap();
    serving.start_again().await;
    page.until("state() === 'live' && lists().includes('43') && all('tr.hold').length === 1")
        .await;
    assert_eq!(page.texts("#state-age").await, [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_when_the_database_cannot_be_asked_and_when_it_can_again() {
    let serving = Serving::start().await;
    let id = mutex_id("42");
    serving
        .mutexes
        .capture(&id)
        .owner(owner("Ada"))
        .await
        .unwrap();
    let page = Browser::at(&serving.url()).await;
    page.until("state() === 'live' && all('tr.hold').length === 1")
        .await;
    serving.take_away().await;
    page.until("text('#state-words').startsWith('The database cannot be asked') && text('#state-age') !== ''")
        .await;
    assert_eq!(page.texts("tr.hold").await.len(), 1);
    let words = page.texts("#state-words").await;
    assert!(
        !words[0].contains("select") && !words[0].contains("browser_"),
        "{words:?}"
    );
    serving.put_back().await;
    page.until("state() === 'live' && text('#state-age') === '' && all('tr.hold').length === 1")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_sees_it_it_lets_go_of_the_server() {
    let serving = Serving::start().await;
    let page = Browser::at(&serving.url()).await;
    page.until("state() === 'live'").await;
    let hide = |is_hidden: bool| {
        format!(
            "(Object.defineProperty(document, 'hidden', {{ value: {is_hidden}, configurable: true }}), document.dispatchEvent(new Event('visibilitychange')))"
        )
    };
    page.value(&hide(true)).await;
    page.until("state() === 'paused'").await;
    let id = mutex_id("42");
    serving
        .mutexes
        .capture(&id)
        .owner(owner("Ada"))
        .await
        .unwrap();
    page.value(&hide(false)).await;
    page.until("state() === 'live' && all('tr.hold').length === 1")
        .await;
}

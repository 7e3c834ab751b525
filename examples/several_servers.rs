//! Locks on several independent servers: each mutex has one server, which its name says. Run it with:
//! cargo run --release --example several_servers
//!
//! What holds: everything that is promised of one mutex, and of one subtree. What does not: `capture_all` and
//! `lock_all` of mutexes on two servers (all or none is one server's decision), the root of a tree (it would lie
//! above paths of all servers), and one order of tokens across mutexes. A list is a list of each server.

use std::error::Error;

use pgmutex::{
    Error as MutexError, MutexId, MutexOwner, MutexQuery, Mutexes,
    private_server::PrivatePostgres,
    tokio_postgres::{self, NoTls},
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// More than there will ever be servers, and never changed: to move locks to a new server is to give it
/// some of the buckets, while nobody holds what is in them.
const BUCKETS: usize = 1024;

/// The place of a server in the list of their URLs, for each bucket. Every process must have the same.
type Map = Vec<usize>;

/// The buckets in equal parts.
fn evenly(count: usize) -> Map {
    (0..BUCKETS)
        .map(|bucket| bucket * count / BUCKETS)
        .collect()
}

/// Servers, and the buckets of mutexes that each has.
struct Servers {
    servers: Vec<Mutexes>,
    buckets: Map,
}

impl Servers {
    /// Connects to all of them. Each is told its buckets once, and refuses to have others later: with two URLs
    /// in the wrong order, or with another map, two processes would each be told that they hold the same mutex.
    async fn connect(urls: &[String], buckets: Map) -> Outcome<Self> {
        let mut servers = Vec::new();
        for (number, url) in urls.iter().enumerate() {
            Place::of(url)
                .await?
                .check(&of_server(number, &buckets)?)
                .await?;
            let mutexes = Mutexes::connect(url).await?;
            mutexes.migrate().await?;
            servers.push(mutexes);
        }
        Ok(Self { servers, buckets })
    }

    /// Gives the servers other buckets. Before that all processes are stopped that have the map of before,
    /// and what they held is released. Until every server has been told, nobody is let in by either map.
    async fn change(urls: &[String], buckets: &Map) -> Outcome {
        for (number, url) in urls.iter().enumerate() {
            Place::of(url)
                .await?
                .set(&of_server(number, buckets)?)
                .await?;
        }
        Ok(())
    }

    /// The server that has this mutex.
    fn of(&self, id: &MutexId) -> Outcome<&Mutexes> {
        Ok(&self.servers[self.number_of(id)?])
    }

    /// The server that has all of these.
    fn of_all(&self, ids: &[&MutexId]) -> Outcome<&Mutexes> {
        let mut numbers = ids.iter().map(|id| self.number_of(id));
        let first = numbers.next().ok_or("no mutexes")??;
        for number in numbers {
            if number? != first {
                return Err("they are on two servers, which cannot decide together".into());
            }
        }
        Ok(&self.servers[first])
    }

    fn number_of(&self, id: &MutexId) -> Outcome<usize> {
        // A path goes where its first segment goes: what lies below and above it must be on one server.
        let name = match id
            .id()
            .strip_prefix('/')
            .and_then(|id| id.strip_suffix('/'))
        {
            Some(path) => path.split('/').next().unwrap_or_default(),
            None if id.id() == "/" => return Err("the root lies above paths of all servers".into()),
            None => id.id(),
        };
        let hash = [id.group(), id.mode(), name]
            .iter()
            .flat_map(|part| part.bytes().chain([0])) // no part has a NUL
            .fold(FNV_OFFSET, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
            });
        // Its lower bits alone would know no more than the lower bits of the name.
        let folded = usize::try_from((hash ^ (hash >> 32)) % (BUCKETS as u64))?;
        Ok(self.buckets[folded])
    }
}

// FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/). The hash of the standard library may be another one in the
// next version, and then two processes would look for one mutex on two servers.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn of_server(number: usize, buckets: &Map) -> Outcome<Vec<i32>> {
    let own = (0..buckets.len()).filter(|bucket| buckets[*bucket] == number);
    Ok(own.map(i32::try_from).collect::<Result<_, _>>()?)
}

/// Where a server keeps which buckets are its own.
struct Place(tokio_postgres::Client);

impl Place {
    async fn of(url: &str) -> Outcome<Self> {
        let (sql, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        // Two who come first at once would both create it.
        sql.batch_execute(
            "begin;
             select pg_advisory_xact_lock(hashtextextended('public.lock_server', 0));
             create table if not exists public.lock_server (
                 only_row boolean primary key default true check (only_row), buckets integer[] not null
             );
             commit",
        )
        .await?;
        Ok(Self(sql))
    }

    /// Makes sure that these are its buckets, or makes them so if it has none yet.
    async fn check(&self, buckets: &Vec<i32>) -> Outcome {
        let insert = "insert into public.lock_server (buckets) values ($1) on conflict do nothing";
        self.0.execute(insert, &[buckets]).await?;
        let select = "select buckets from public.lock_server";
        let found: Vec<i32> = self.0.query_one(select, &[]).await?.get(0);
        if found == *buckets {
            return Ok(());
        }
        let in_words = |buckets: &[i32]| match buckets {
            [first, .., last] => format!("{} buckets from {first} to {last}", buckets.len()),
            few => format!("buckets {few:?}"),
        };
        Err(format!(
            "this server has {}, not {}: look at the URLs and the map",
            in_words(&found),
            in_words(buckets)
        )
        .into())
    }

    async fn set(&self, buckets: &Vec<i32>) -> Outcome {
        let set = "insert into public.lock_server (buckets) values ($1)
                   on conflict (only_row) do update set buckets = excluded.buckets";
        self.0.execute(set, &[buckets]).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Outcome {
    let private = [PrivatePostgres::start()?, PrivatePostgres::start()?];
    let urls: Vec<String> = private
        .iter()
        .map(|server| server.url("postgres"))
        .collect();
    let servers = Servers::connect(&urls, evenly(urls.len())).await?;
    let (ada, ben) = (MutexOwner::new("ada")?, MutexOwner::new("ben")?);

    let ids: Vec<MutexId> = (0..100)
        .map(|number| MutexId::new("orders", "edit", number.to_string()))
        .collect::<Result<_, _>>()?;
    for id in &ids {
        servers.of(id)?.capture(id).owner(ada.clone()).await?;
    }
    for id in &ids {
        match servers.of(id)?.capture(id).owner(ben.clone()).await {
            Err(MutexError::Busy { .. }) => {}
            other => return Err(format!("{id} was captured twice: {other:?}").into()),
        }
    }
    // A list of all is a list of each.
    let mut held = Vec::new();
    for mutexes in &servers.servers {
        held.push(mutexes.count(&MutexQuery::all().group("orders")).await?);
    }
    println!(
        "Ada has 100 orders, {held:?} of them on each server. Ben is refused every one of them."
    );
    if held.iter().sum::<u64>() != 100 || held.contains(&0) {
        return Err("they should have been 100, on both servers".into());
    }

    // A subtree is on one server.
    let tree = servers.servers[0].tree("warehouse");
    let (hall, shelf) = (tree.path(["hall 1"])?, tree.path(["hall 1", "shelf 3"])?);
    let mutexes = servers.of(hall.id())?;
    mutexes.capture(&hall).owner(ada.clone()).await?;
    match servers.of(shelf.id())?.capture(&shelf).owner(ben).await {
        Err(MutexError::Busy { holder, .. }) => {
            println!(
                "Ben does not get the shelf: {} has {}.",
                holder.owner, holder.id
            );
        }
        other => return Err(format!("the shelf is in Ada's hall: {other:?}").into()),
    }
    if let Ok(mutexes) = servers.of(tree.root()?.id()) {
        return Err(format!("there is no server for the root: {mutexes:?}").into());
    }

    // All or none is a promise of one server.
    let here: Vec<&MutexId> = ids
        .iter()
        .filter(|id| servers.number_of(id).is_ok_and(|number| number == 0))
        .collect();
    servers
        .of_all(&here)?
        .capture_all(here.iter().copied())
        .owner(ada.clone())
        .await?;
    match servers.of_all(&ids.iter().collect::<Vec<_>>()) {
        Ok(_) => return Err("no server has them all".into()),
        Err(refused) => println!("All 100 in one call: {refused}."),
    }

    let swapped: Vec<String> = urls.iter().rev().cloned().collect();
    match Servers::connect(&swapped, evenly(2)).await {
        Ok(_) => return Err("the servers do not know who they are".into()),
        Err(refused) => println!("With the URLs in another order: {refused}."),
    }

    // A third server: nobody holds anything while the buckets move.
    for mutexes in &servers.servers {
        mutexes.release_owner(&ada).await?;
    }
    let third = PrivatePostgres::start()?;
    let more: Vec<String> = urls
        .iter()
        .cloned()
        .chain([third.url("postgres")])
        .collect();
    match Servers::connect(&more, evenly(3)).await {
        Ok(_) => return Err("two processes may have two maps".into()),
        Err(refused) => println!("With a map that is not known: {refused}."),
    }
    Servers::change(&more, &evenly(3)).await?;
    let servers = Servers::connect(&more, evenly(3)).await?;
    for id in &ids {
        servers.of(id)?.capture(id).owner(ada.clone()).await?;
    }
    match Servers::connect(&urls, evenly(2)).await {
        Ok(_) => Err("the map of before is still let in".into()),
        Err(refused) => {
            println!("With the map of before: {refused}.");
            Ok(())
        }
    }
}

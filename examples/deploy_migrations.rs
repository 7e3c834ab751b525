//! Six replicas of an application start at the same moment and all run its migrations, which
//! refinery alone does not survive. Run it with: cargo run --release --example deploy_migrations

use std::error::Error;

use pgmutex::{
    Mutexes,
    private_server::database_url_or_private,
    refinery::{Migration, Runner},
    tokio_postgres::{self, NoTls},
};

/// An application has these as files: `refinery::embed_migrations!("migrations")`, then
/// `migrations::runner()`.
fn migrations_of_the_application() -> Result<Runner, Box<dyn Error>> {
    let mut runner = Runner::new(&[
        Migration::unapplied(
            "V1__customer",
            "create table if not exists example_customer (id bigint primary key, name text not null)",
        )?,
        Migration::unapplied(
            "V2__invoice",
            "create table if not exists example_invoice (id bigint primary key, customer bigint not null references example_customer)",
        )?,
    ]);
    runner.set_migration_table_name("example_schema_history");
    Ok(runner)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, _server) = database_url_or_private()?;
    let replicas: Vec<_> = (1..=6)
        .map(|replica| {
            let url = url.clone();
            tokio::spawn(async move {
                // What each replica does when it starts.
                let mutexes = Mutexes::connect(&url).await?;
                mutexes.migrate().await?;
                let runner = migrations_of_the_application().map_err(|error| error.to_string())?;
                let report = mutexes.run_migrations(&runner).await?;
                Ok::<_, Box<dyn Error + Send + Sync>>((replica, report.applied))
            })
        })
        .collect();
    for replica in replicas {
        let (replica, applied) = replica.await?.map_err(|error| error.to_string())?;
        match applied.len() {
            0 => println!("replica {replica}: found everything done"),
            _ => println!("replica {replica}: applied {}", applied.join(", ")),
        }
    }

    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    let history = client
        .query(
            "select version, name from example_schema_history order by version",
            &[],
        )
        .await?;
    println!("history of the application:");
    for row in history {
        println!("    {} {}", row.get::<_, i32>(0), row.get::<_, String>(1));
    }
    Ok(())
}

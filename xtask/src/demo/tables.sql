-- The CDNOW order log as a shop would have it: one row per order, one row per customer.
-- `split` says which customers train the model, which choose it and which judge it (tests/data/README.md).
create temporary table cdnow_log (
    customer_id text, ts date, amount numeric(10, 2), num_cds integer, split_bucket integer
);

create table customers (
    customer_id text primary key,
    split text not null check (split in ('train', 'validation', 'test'))
);

create table orders (
    customer_id text not null references customers,
    ordered_at date not null,
    amount numeric(10, 2) not null,
    cds integer not null
);

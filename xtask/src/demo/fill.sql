-- From the log to the shop's tables.
insert into customers
select customer_id,
       case when min(split_bucket) < 60 then 'train' when min(split_bucket) < 80 then 'validation' else 'test' end
from cdnow_log group by customer_id order by customer_id;

insert into orders
select customer_id, ts, amount, num_cds from cdnow_log order by ts, customer_id;

create index on orders (customer_id, ordered_at);

drop table cdnow_log;
analyze customers;
analyze orders;

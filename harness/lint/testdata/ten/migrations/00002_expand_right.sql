-- +goose Up
-- The old code does not know the column and leaves it null.
set local lock_timeout = '2s';
alter table orders add column shipped_by text;
alter table orders add constraint orders_shipped_by check (shipped_by <> '') not valid;

-- +goose Down
set local lock_timeout = '2s';
create table orders_shipped_by_kept as select id, shipped_by from orders where shipped_by is not null;
alter table orders drop column shipped_by;

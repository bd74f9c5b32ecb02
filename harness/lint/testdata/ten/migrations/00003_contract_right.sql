-- +goose Up
set local lock_timeout = '2s';
create table customers_fax_dropped (customer_id bigint primary key, fax text not null);
insert into customers_fax_dropped select id, fax from customers where fax is not null;
alter table customers drop column fax;

-- +goose Down
set local lock_timeout = '2s';
alter table customers add column fax text;
update customers c set fax = d.fax from customers_fax_dropped d where d.customer_id = c.id;
drop table customers_fax_dropped;

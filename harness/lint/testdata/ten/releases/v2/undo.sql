\set ON_ERROR_STOP on
lock table orders;
delete from orders where channel = 'beta';
alter table orders drop column channel;

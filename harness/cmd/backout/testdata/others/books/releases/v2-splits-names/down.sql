begin;
update books set author = author_before;
alter table books drop column author_before;
commit;

@database @critical @gate
Feature: Rolling back a migration by the copy that was kept before it

  v2-whole-amounts changes the type of orders.total, which rounds it and writes the whole table anew; its Down would do the
  same again while nobody can order. The rollout keeps a copy first, and a list of the orders that are written from then
  on. The rollback puts the copy in the place of the table, with what was written since.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan restores the copy and what was written since
    When release "v2-whole-amounts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in

@database @critical @gate
Feature: Rolling back a migration by a dump that was made before it

  The rollout of v2-whole-amounts dumps orders with pg_dump before it writes them anew. The rollback restores the dump into a
  database of its own, brings the table from there beside the live one, and puts it in that one's place, with what was written
  since the dump. Users go on until the last moment.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan restores the dump and what was written since
    When release "v2-whole-amounts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "restores-a-dump"
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in

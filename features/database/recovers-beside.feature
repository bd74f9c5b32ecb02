@database @critical @gate
Feature: Rolling back a migration by a base backup and point-in-time recovery

  The rollout of v2-whole-amounts keeps a base backup and the WAL up to a point with a name, before it writes orders anew. The
  rollback recovers it up to that point on a second server, which nobody else reaches, brings the table from there beside the live
  one, and puts it in that one's place, with what was written since. Nobody else's writes are thrown away, as they would be if the
  primary itself were recovered.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan recovers the table beside and what was written since
    When release "v2-whole-amounts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "recovers-beside"
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in

@database @critical
Feature: Rolling back a good release that adds a column

  v2 notes with each order where it was placed, in a new column. There is nothing wrong with it. Taking it back must be
  as harmless as deploying it: nothing is lost, and users do not even notice by the time that their requests take.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica

  @gate
  Scenario: Nothing is lost when the release is taken back
    Given 60 journeys per second by 50 users
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in

  # Latency is judged with nothing beside it, on a machine that is quiet enough for a steady baseline.
  @alone
  Scenario: Users do not notice that the release is taken back
    Given 150 journeys per second by 50 users
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And latency is back at the baseline's

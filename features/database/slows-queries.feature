@database @critical @alone
Feature: Rolling back a release that slows queries

  v2-slows-queries drops an index. Nothing fails; the list of a customer's orders takes ten times as long. The
  rollback must bring the index back, and the time that users wait.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 100 journeys per second by 30 users

  Scenario: The plan builds the index again
    When release "v2-slows-queries" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And latency is back at the baseline's
    And every node has the schema and the data of before

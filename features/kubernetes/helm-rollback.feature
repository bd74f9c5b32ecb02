@kubernetes @critical @gate
Feature: Rolling back by helm rollback

  The chart is brought back to the revision of before, and Helm waits until every pod of it is ready.

  Background:
    Given the service "shop" with 20000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: Helm brings the first revision back
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "helm-rollback"
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And users stay signed in

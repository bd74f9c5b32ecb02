@control @kubernetes @gate
Feature: Control: the Deployment of the worker is forgotten

  Users see the release of before and place orders. The worker that hands the orders on is a Deployment of its own,
  and still of the bad release.

  Background:
    Given the service "shop" with 20000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The worker goes on with the bad release
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "forgets-the-worker"
    Then the drill fails because "every instance serves the target release"
